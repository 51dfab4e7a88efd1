"""Opening a recognised device and handing out its serial ports; finding it again after it was unplugged.

    open_device(bus, identity) -> UsbDevice: bridge(0), bridge(1) ... close()

Whoever calls `open_device` has decided that this is a miner, or that the operator named it: opening detaches kernel
drivers and writes to the device.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from backends.asic.usb import cdc_acm, cp210x, ftdi, ids
from backends.asic.usb.bridge import Bridge, Parity
from backends.asic.usb.bulk import BulkPair, Payload
from backends.asic.usb.bus import Bus, UsbIdentity
from backends.asic.usb.claim import Claim
from backends.asic.usb.descriptors import Interface
from backends.asic.usb.ids import BridgeKind
from backends.base import DeviceGone, Misuse


def _silent(*_: object, **__: object) -> None:
    return


class UsbDevice:
    """One opened device. Its ports are numbered as its interfaces are, those of a CDC device as its functions are.

    Thread-safe. Closed with its last bridge, or at once by `close`; a context manager closes it, come what may.
    """

    def __init__(self, claim: Claim, kind: BridgeKind, layout: tuple[Interface, ...]) -> None:
        self._claim, self._kind, self._layout = claim, kind, layout
        self._functions = cdc_acm.functions(layout) if kind is BridgeKind.CDC_ACM else ()
        self._lock = threading.Lock()
        self._open: set[int] = set()

    @property
    def identity(self) -> UsbIdentity:
        return self._claim.identity

    @property
    def ports(self) -> int:
        """How many serial ports it has; some boards show one only with a certain firmware."""
        return len(self._functions) if self._kind is BridgeKind.CDC_ACM else len(self._layout)

    def bridge(self, port: int, parity: Parity = Parity.NONE) -> Bridge:
        """Claim this port and set it up.

        Raises Misuse for a port that the device lacks or that is open, DeviceFault for descriptors that make no sense,
        Taken, NotPermitted, DeviceGone, BridgeStalled.
        """
        with self._lock:
            if not 0 <= port < self.ports or port in self._open:
                raise Misuse(f"USB device at {self.identity.path}: port {port} of {self.ports} is open, or not there")
            make = {BridgeKind.FTDI: self._ftdi, BridgeKind.CP210X: self._cp210x, BridgeKind.CDC_ACM: self._cdc_acm}
            bridge = make[self._kind](port, parity)
            self._open.add(port)
            return bridge

    def port_reset(self) -> None:
        """Reset the device's port on its hub; then every bridge must be `reset` and given its rate again.

        Raises DeviceGone when it comes back as something else: scan and open anew.
        """
        self._claim.port_reset()

    def close(self) -> None:
        """Give everything back to the kernel's drivers, whatever bridges are open. Idempotent, never raises."""
        self._claim.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ftdi(self, port: int, parity: Parity) -> Bridge:
        interface = self._layout[port]
        model = ftdi.model(self.identity.bcd_device)
        codec = ftdi.Codec(model, interface.number + 1 if self.ports > 1 else 0)
        return ftdi.FtdiBridge(self._claim, self._pair(port, interface, ftdi.payload), codec, parity)

    def _cp210x(self, port: int, parity: Parity) -> Bridge:
        interface = self._layout[port]
        two_ports = (cp210x.CP2105_ENHANCED, cp210x.CP2105_STANDARD)
        model = two_ports[port > 0] if self.identity.pid == ids.CP2105 else cp210x.CP2102
        codec = cp210x.Codec(model, interface.number)
        return cp210x.Cp210xBridge(self._claim, self._pair(port, interface), codec, parity)

    def _cdc_acm(self, port: int, parity: Parity) -> Bridge:
        function = self._functions[port]
        codec = cdc_acm.Codec(function.control.number, parity)
        return cdc_acm.CdcAcmBridge(self._claim, self._pair(port, function.data, also=function.control), codec)

    def _pair(
        self, port: int, data: Interface, payload: Payload | None = None, also: Interface | None = None
    ) -> BulkPair:
        inward, outward = data.pair()
        self._claim.take([also.number, data.number] if also else [data.number])
        closed = lambda: self._port_closed(port)  # noqa: E731
        return BulkPair(self._claim, inward, outward, **({"payload": payload} if payload else {}), closed=closed)

    def _port_closed(self, port: int) -> None:
        with self._lock:
            self._open.discard(port)
            last = not self._open
        if last:
            self._claim.close()


def open_device(
    bus: Bus,
    identity: UsbIdentity,
    log: Callable[..., None] = _silent,
    now: Callable[[], float] = time.monotonic,
) -> UsbDevice:
    """Open it; nothing is claimed before the first `bridge`.

    Raises Misuse for a device without a bridge that is known here, DeviceFault for descriptors that make no sense,
    DeviceGone, NotPermitted, Taken.
    """
    kind = ids.bridge_kind(identity)
    if kind is None:
        raise Misuse(f"USB device at {identity.path}: no driver for its bridge {identity.vid:04x}:{identity.pid:04x}")
    claim = Claim(bus.open(identity), identity, log, now)
    with ExitStack() as undo:
        undo.callback(claim.close)
        device = UsbDevice(claim, kind, claim.layout())
        undo.pop_all()
    return device


def find_again(bus: Bus, identity: UsbIdentity) -> UsbIdentity:
    """The same device as it is plugged in now, wherever that is: by its serial number, else by its port.

    Cheap bridges share one serial number: of several such the one on the known port is meant. Raises DeviceGone.
    """

    def same(other: UsbIdentity) -> bool:
        names = ("vid", "pid", "manufacturer", "product", "serial", "virtual")
        return all(getattr(other, name) == getattr(identity, name) for name in names)

    alike = [other for other in bus.scan() if same(other)]
    here = [other for other in alike if other.path == identity.path]
    if not here and identity.serial is not None and len(alike) == 1:
        here = alike
    if not here:
        raise DeviceGone(f"USB device {identity.serial or 'without a serial number'} is not plugged in")
    return here[0]


def reopen(bus: Bus, identity: UsbIdentity, log: Callable[..., None] = _silent) -> UsbDevice:
    """Open the same device after a replug or a port reset. Raises what `find_again` and `open_device` do."""
    return open_device(bus, find_again(bus, identity), log)
