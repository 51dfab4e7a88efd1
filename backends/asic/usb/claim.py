"""An opened USB device, exclusively ours: kernel drivers step aside for it and come back when it is closed.

All transfers of all bridges of the device go through here: this is where errors become the tree of `backends.asic`,
stalls are cleared, and a handle is kept alive for as long as any thread's transfer uses it. Detaching and claiming
follow libusb; a CDC driver holds two interfaces, and both are taken before the first transfer.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from backends.asic.errors import BridgeStalled
from backends.asic.usb import descriptors, fault
from backends.asic.usb.bus import UsbIdentity
from backends.asic.usb.gate import Gate
from backends.asic.usb.request import IN, Request
from backends.base import BackendError, DeviceGone

TIMEOUT_S = 1.0  # for a control transfer, and for all bytes of a write
RETRIES = 2  # after a damaged transfer, or a stalled bulk one

_T = TypeVar("_T")
_DEVICES = Path("/dev/bus/usb")


def device_node(bus: int, address: int) -> Path:
    """The file through which libusb opens a device."""
    return _DEVICES / f"{bus:03d}" / f"{address:03d}"


class Claim:
    """Thread-safe: transfers may overlap; `take`, `port_reset` and `close` wait for those under way."""

    def __init__(
        self,
        device: Any,
        identity: UsbIdentity,
        log: Callable[..., None] = lambda *_a, **_k: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`device`: a pyusb `Device`, owned from here on."""
        self._device = device
        self.identity = identity
        self._log = log
        self.now = now
        self._node = None if identity.virtual else device_node(device.bus or 0, device.address or 0)
        self._gate = Gate(f"USB device at {identity.path}")
        self._closing = threading.Lock()
        self._claimed: list[int] = []
        self._detached: list[int] = []
        self._gone: str | None = None
        self._is_closed = False

    def layout(self) -> tuple[descriptors.Interface, ...]:
        """The interfaces of the active configuration. Raises DeviceFault for descriptors that make no sense."""

        def read() -> tuple[descriptors.Interface, ...]:
            return descriptors.read(self._device.get_active_configuration())

        return self._guarded("reading its descriptors", read)

    def take(self, interfaces: Iterable[int]) -> None:
        """Detach the kernel's drivers from these interfaces and claim them: all, or none.

        Raises Taken, NotPermitted, DeviceGone, and what a transfer raises.
        """
        with self._gate.alone():
            self._claim_all(number for number in interfaces if number not in self._claimed)

    def control(self, request: Request) -> bytes:
        """Carry out one control transfer; what came back, empty for a request out. One second at most."""
        data: bytes | int = request.length if request.kind & IN else request.data

        def transfer() -> Any:
            return self._device.ctrl_transfer(
                request.kind, request.number, request.value, request.index, data, _milliseconds(TIMEOUT_S)
            )

        answer = self._tried(str(request), transfer)
        return bytes(answer)[: request.length] if request.kind & IN else b""

    def read(self, address: int, size: int, timeout_s: float) -> bytes:
        """One bulk transfer in, of `size` bytes at most; empty when nothing came in time."""

        def transfer() -> Any:
            try:
                return self._device.read(address, size, _milliseconds(timeout_s))
            except OSError as error:
                if error.errno in fault.TIMEOUTS:
                    return b""
                raise

        return bytes(self._tried("reading", transfer, address))[:size]

    def write(self, address: int, data: bytes) -> None:
        """All of `data` in one bulk transfer, or in the fewest that the device takes; one second at most."""
        deadline = self.now() + TIMEOUT_S
        sent = 0

        def transfer() -> Any:
            return self._device.write(address, data[sent:], _milliseconds(deadline - self.now()))

        refusals = 0
        while sent < len(data):
            taken = min(max(self._tried("writing", transfer, address), 0), len(data) - sent)
            refusals += not taken
            if refusals > RETRIES or self.now() > deadline:
                raise BridgeStalled(f"USB device at {self.identity.path}: took {sent} of {len(data)} bytes")
            sent += taken

    def port_reset(self) -> None:
        """Reset the device's port on its hub, and claim again what was claimed. Bridges must be reset after it.

        Raises DeviceGone when the device comes back as another one, or not at all.
        """
        with self._gate.alone():
            claimed, self._claimed = self._claimed, []
            self._guard("resetting", self._device.reset)
            self._claim_all(claimed)

    def close(self) -> None:
        """Release everything and give it back to the kernel's drivers. Idempotent, never raises."""
        with self._closing:
            if self._is_closed:
                return
            self._is_closed = True
            if not self._gate.close():
                # A transfer that does not end still uses the handle: leaving it open is the lesser evil.
                self._log("usb_close_abandoned", device=self.identity.path)
                return
            self._give_back([*self._claimed, *self._detached])
            import usb.util  # noqa: PLC0415

            self._attempt("usb_close_failed", None, usb.util.dispose_resources, self._device)

    def _guarded(self, doing: str, act: Callable[[], _T]) -> _T:
        with self._gate.among_others():
            return self._guard(doing, act)

    def _tried(self, doing: str, transfer: Callable[[], Any], address: int | None = None) -> Any:
        """A damaged transfer is tried again, RETRIES times; one that `address`, an endpoint, stalled, too."""
        with self._gate.among_others():
            for _ in range(RETRIES):
                self._raise_if_gone()
                try:
                    return transfer()
                except OSError as error:
                    if error.errno == errno.EPIPE and address is not None:
                        self._guard("clearing a stall", self._device.clear_halt, address)
                    elif error.errno not in fault.NOISE:
                        raise self._translated(error, doing) from error
                except fault.RAISED as error:
                    raise self._translated(error, doing) from error
            return self._guard(doing, transfer)

    def _guard(self, doing: str, act: Callable[..., _T], *arguments: Any) -> _T:
        self._raise_if_gone()
        try:
            return act(*arguments)
        except fault.RAISED as error:
            raise self._translated(error, doing) from error

    def _translated(self, error: Exception, doing: str) -> BackendError:
        said = fault.translated(error, doing, self.identity, self._node)
        if isinstance(said, DeviceGone) and getattr(error, "errno", None) in fault.GONE:
            self._gone = str(said)  # nothing is asked of it any more; over a bad cable it may still be turned off
        return said

    def _raise_if_gone(self) -> None:
        if self._gone is not None:
            raise DeviceGone(self._gone)

    def _claim_all(self, numbers: Iterable[int]) -> None:
        """All, or none. One driver may hold several interfaces: every driver goes before the first claim."""
        import usb.util  # noqa: PLC0415 - pyusb is loaded when the first device is opened

        wanted = list(numbers)
        try:
            for number in wanted:
                self._detach(number)
            for number in wanted:
                self._guard("claiming", usb.util.claim_interface, self._device, number)
                self._claimed.append(number)
        except BackendError:
            self._give_back(wanted)
            raise

    def _detach(self, number: int) -> None:
        def detach() -> bool:
            try:
                if not self._device.is_kernel_driver_active(number):
                    return False
                self._device.detach_kernel_driver(number)
            except NotImplementedError:  # no such thing on this system, or in an emulation
                return False
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENODATA):  # it went by itself, with its driver's other interface
                    return False
                raise
            return True

        if self._guard("detaching the kernel driver", detach) and number not in self._detached:
            self._detached.append(number)

    def _give_back(self, interfaces: Iterable[int]) -> None:
        """Release all first, then attach: a driver of two interfaces needs both free. Failures are told, not raised."""
        import usb.util  # noqa: PLC0415

        numbers = sorted(set(interfaces))
        for number in [n for n in numbers if n in self._claimed]:
            self._claimed.remove(number)
            self._attempt("usb_release_failed", number, usb.util.release_interface, self._device, number)
        for number in [n for n in numbers if n in self._detached]:
            self._detached.remove(number)
            self._attempt("usb_driver_not_returned", number, self._device.attach_kernel_driver, number)

    def _attempt(self, event: str, number: int | None, act: Callable[..., Any], *arguments: Any) -> None:
        try:
            act(*arguments)
        except fault.RAISED as error:
            # Of what is gone nothing is left to give back. EBUSY: the driver came back with its other interface.
            if self._gone is None and getattr(error, "errno", None) not in (*fault.GONE, errno.EBUSY):
                self._log(event, device=self.identity.path, interface=number, reason=str(error)[:200])


def _milliseconds(seconds: float) -> int:
    """As libusb takes a time-out: never 0, which means for ever."""
    return max(1, math.ceil(min(seconds, TIMEOUT_S) * 1000))
