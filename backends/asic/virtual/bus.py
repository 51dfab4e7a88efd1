"""A bus with virtual boards on it, in this process: the other implementation of `backends.asic.usb.bus.Bus`.

**Scale.** A CPU does a millionth of a chip's hashes. The boards of a bus therefore work at a declared scale, a power of
two: `hashes really done = scale * hashes of a real board at this clock`, and whatever a chip reports meets its ticket
at a difficulty one that is easier by the same factor. Nonces so arrive as often as from real boards. A driver need
not change its times, its health rules or its tickets. It must apply
`scale(identity)` (1 for real devices) in two places:

- a nonce is right when its hash is at most `ticket target / scale` (2**256 - 1 at most), not the ticket's target;
- a right nonce stands for `scale * expected hashes of the ticket`: that, and no more, is what was worked.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import cache

import usb.core

from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.base import DeviceGone, Misuse
from backends.kernels import NO_CACHE, KernelCache

from .boards.board import Surroundings, VirtualBoard
from .catalogue import Order, build, parse_order, specification
from .chips.chain import Search
from .chips.search import Engine
from .faults import Fault
from .pyusb_backend import Attachment, VirtualBackend

_KEEP_ALL_BUSY = 16  # boards that together use all of this machine's cores


class VirtualBus:
    """Boards are plugged in by order, `compac-f` or `compac-f,fault=hot`, and get the paths virtual-1, virtual-2...

    scale: what all boards work at; None: measured when first asked for, so that sixteen use the whole machine.
    search: what finds nonces; None: the CPU's kernel, which is loaded with the first job or question for the scale.
    """

    def __init__(
        self,
        orders: Iterable[Order | str] = (),
        *,
        scale: float | None = None,
        search: Search | None = None,
        kernels: KernelCache = NO_CACHE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.backend = VirtualBackend()
        self._engine = Engine(kernels)
        self._search = search or self._engine
        self._scale = scale
        self._clock = clock
        self._lock = threading.RLock()
        self._boards: dict[str, tuple[VirtualBoard, Attachment]] = {}
        self._watchers: list[Callable[[], None]] = []
        self._timers: list[threading.Timer] = []
        for order in orders:
            self.plug(order)

    def plug(self, order: Order | str) -> VirtualBoard:
        """Plug a new board in. Raises ValueError for an order that cannot be understood."""
        if isinstance(order, str):
            order = parse_order(order)
        kind = specification(order)
        with self._lock:
            place = len(self._boards) + 1
            scale = cache(lambda: self._scale_of(kind.nominal_hps))
            around = Surroundings(threading.Condition(threading.RLock()), self._clock, self._search, scale)
            board = build(order, around, place)
            self._boards[f"virtual-{place}"] = (board, self.backend.plug(board.device, place))
            if (after_s := board.faults.value(Fault.UNPLUG)) is not None:
                timer = threading.Timer(after_s, self.unplug, (f"virtual-{place}",))
                timer.daemon = True
                timer.start()
                self._timers.append(timer)
        self._changed()
        return board

    def board(self, path: str) -> VirtualBoard:
        """For faults and looks inside. Raises KeyError."""
        return self._boards[path][0]

    def unplug(self, path: str) -> None:
        """Pull a board's plug; it keeps its path for replug()."""
        board, attachment = self._boards[path]
        with board.changed:
            board.unplug()
            self.backend.unplugged(attachment)
        self._changed()

    def replug(self, path: str) -> None:
        board, attachment = self._boards[path]
        with board.changed:
            board.replug()
            attachment.bind()
        self._changed()

    def scan(self) -> list[UsbIdentity]:
        with self._lock:
            boards = list(self._boards.items())
        return [_identity(path, attachment) for path, (board, attachment) in boards if board.device.plugged]

    def open(self, identity: UsbIdentity) -> usb.core.Device:
        board, attachment = self._boards.get(identity.path, (None, None))
        if board is None or attachment is None or not board.device.plugged:
            raise DeviceGone(f"{identity.path} is not plugged in any more")
        return usb.core.Device(attachment, self.backend)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            self._watchers.append(changed)

        def end() -> None:
            with self._lock:
                if changed in self._watchers:
                    self._watchers.remove(changed)

        return end

    def scale(self, identity: UsbIdentity) -> float:
        """Hashes really done for each that a real board would have done. Loads and measures the kernel at first."""
        if identity.path not in self._boards:
            raise Misuse(f"{identity.path} was never on this bus")
        return self._boards[identity.path][0].scale()

    def close(self) -> None:
        """Unplug everything and end all threads."""
        for timer in self._timers:
            timer.cancel()
        for path, (board, _) in list(self._boards.items()):
            if board.device.plugged:
                self.unplug(path)
            board.close()

    def _scale_of(self, nominal_hps: float) -> float:
        if self._scale is not None:
            return self._scale
        share_hps = self._engine.rate_hps * len(os.sched_getaffinity(0)) / _KEEP_ALL_BUSY
        return min(1.0, 2.0 ** math.floor(math.log2(share_hps / nominal_hps)))

    def _changed(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for changed in watchers:
            changed()


def _identity(path: str, attachment: Attachment) -> UsbIdentity:
    of = attachment.device.descriptors
    return UsbIdentity(
        path=path,
        vid=of.vid,
        pid=of.pid,
        bcd_device=of.bcd_device,
        manufacturer=of.manufacturer,
        product=of.product,
        serial=of.serial,
        interfaces=tuple(
            UsbInterface(one.number, one.class_code, one.subclass_code, attachment.bound.get(one.number))
            for one in of.interfaces
        ),
        virtual=True,
    )
