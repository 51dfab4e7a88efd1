"""The narrow interface to USB: what is plugged in, and a handle to one of it.

Two implementations stand behind it: the machine's own ports (sysfs to look, pyusb over libusb to open) and emulated
boards (`backends.asic.virtual`, pyusb over the emulation). Everything above sees no difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class UsbInterface:
    """One interface as its descriptor says, and the kernel's driver that holds it now, None for none."""

    number: int
    class_code: int
    subclass_code: int = 0
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class UsbIdentity:
    """A plugged-in device as can be known without opening it. Texts are the device's own: never trust or print raw."""

    path: str  # the port it hangs on, stable while it stays there: "1-1.2", or "virtual-1"
    vid: int
    pid: int
    bcd_device: int = 0
    manufacturer: str | None = None
    product: str | None = None
    serial: str | None = None
    interfaces: tuple[UsbInterface, ...] = ()
    virtual: bool = False
    obstacle: str | None = None  # why it cannot be opened, with the remedy; None: nothing known against it


class Bus(Protocol):
    """Thread-safe."""

    def scan(self) -> list[UsbIdentity]:
        """Everything plugged in, in a stable order. Opens nothing, writes nothing."""
        ...

    def open(self, identity: UsbIdentity) -> Any:
        """A pyusb `usb.core.Device`, nothing claimed yet. Raises DeviceGone, NotPermitted, Taken."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` (any thread) whenever a scan would answer otherwise; returns what ends the watch."""
        ...
