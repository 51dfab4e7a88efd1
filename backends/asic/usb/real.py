"""The machine's own USB ports: sysfs to look, pyusb over libusb to open. pyusb is loaded when the first device is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from backends.asic.errors import Taken
from backends.asic.usb import fault, holder, hotplug, sysfs
from backends.asic.usb.bus import UsbIdentity
from backends.base import BackendError, DeviceGone


class RealBus:
    """A `Bus`."""

    def __init__(self, roots: sysfs.Roots | None = None) -> None:
        self._roots = roots or sysfs.Roots()

    def scan(self) -> list[UsbIdentity]:
        return sysfs.scan(self._roots)

    def open(self, identity: UsbIdentity) -> Any:
        """Also raises Taken when a program has a terminal of the device open, rather than pull it from under it."""
        where = sysfs.place(self._roots, identity.path)
        there = sysfs.identity(self._roots, identity.path)
        if where is None or there is None or not _same(there, identity):
            raise DeviceGone(f"USB device at {identity.path}: no longer plugged in there")
        if holder.holders(where.terminals, self._roots.proc):
            raise Taken(f"USB device at {identity.path}: {holder.sentence(where.terminals, self._roots.proc)}")
        return _opened(where, identity)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        return hotplug.watch(self.scan, changed, hotplug.uevents())


def preload() -> None:
    """Import pyusb and load the libusb library. Libusb is not initialised: that would start a thread.

    What cannot be loaded is left out here. Opening a device reports it.
    """
    for name in ("usb.core", "usb.util", "usb.backend.libusb1"):
        with suppress(ImportError):
            import_module(name)
    with suppress(ImportError, OSError):
        import libusb_package  # noqa: PLC0415  as pyusb

        if path := libusb_package.get_library_path():
            ctypes.CDLL(str(path))  # the library stays loaded, so pyusb loads it at once


def _same(one: UsbIdentity, other: UsbIdentity) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("vid", "pid", "product", "serial"))


def _opened(where: sysfs.Place, identity: UsbIdentity) -> Any:
    import usb.core  # noqa: PLC0415
    import usb.util  # noqa: PLC0415

    def meant(device: Any) -> bool:
        numbers = (device.bus, device.address, device.idVendor, device.idProduct)
        return bool(numbers == (where.bus, where.address, identity.vid, identity.pid))

    device = None
    try:
        device = usb.core.find(backend=_libusb(), custom_match=meant)
        if device is None:
            raise DeviceGone(f"USB device at {identity.path}: no longer plugged in there")
        device.get_active_configuration()  # pyusb opens a device with the first question to it
    except fault.RAISED as error:
        if device is not None:
            usb.util.dispose_resources(device)
        raise fault.translated(error, "opening", identity, where.node) from error
    return device


@cache
def _libusb() -> Any:
    """The libusb that came with the package, else the system's. Raises BackendError when neither loads."""
    import usb.backend.libusb1  # noqa: PLC0415

    try:
        import libusb_package  # noqa: PLC0415
    except ImportError:  # no wheel for this machine
        packaged = None
    else:
        packaged = usb.backend.libusb1.get_backend(find_library=libusb_package.find_library)
    backend = packaged or usb.backend.libusb1.get_backend()
    if backend is None:
        raise BackendError("libusb cannot be loaded: install the system's, such as apt install libusb-1.0-0")
    return backend
