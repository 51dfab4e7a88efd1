"""What libusb and the kernel say went wrong, as the one tree that everything above knows.

pyusb raises `USBError`, an OSError with libusb's code as errno, and leaves a few of Python's own through.
"""

from __future__ import annotations

import errno
from pathlib import Path

from backends.asic.errors import BridgeStalled, NotPermitted, Taken
from backends.asic.usb import holder, udev
from backends.asic.usb.bus import UsbIdentity
from backends.base import BackendError, DeviceFault, DeviceGone

# What pyusb lets out: its own error and time-out are OSErrors; the others come with descriptors that contradict
# themselves and with calls that this system's libusb lacks.
RAISED = (OSError, ValueError, IndexError, KeyError, AttributeError, TypeError, NotImplementedError)

GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ESHUTDOWN})
NOISE = frozenset({errno.EIO, errno.EPROTO, errno.EILSEQ})  # a damaged transfer, or a plug half out
TIMEOUTS = frozenset({errno.ETIMEDOUT})


def translated(error: Exception, doing: str, identity: UsbIdentity, node: Path | None = None) -> BackendError:
    """`doing`: a short phrase such as "writing". `node`: the device file, to tell who else holds it."""
    code = getattr(error, "errno", None)
    where = f"USB device at {identity.path}"
    if not isinstance(error, OSError):
        return DeviceFault(f"{where}: {doing}: {type(error).__name__}: {str(error)[:200]}")
    if code in GONE:
        return DeviceGone(f"{where}: unplugged while {doing}")
    if code in NOISE:
        return DeviceGone(f"{where}: transfers fail while {doing}: unplugged, or a bad cable or hub")
    if code in (errno.EACCES, errno.EPERM):
        return NotPermitted(udev.remedy(identity, node))
    if code == errno.EBUSY:
        return Taken(f"{where}: {holder.sentence([node] if node else [])}")
    if code == errno.EPIPE:
        return BridgeStalled(f"{where}: refused {doing}")
    if code in TIMEOUTS:
        return BridgeStalled(f"{where}: no answer in time while {doing}")
    if code == errno.EOVERFLOW:
        return DeviceFault(f"{where}: sent more than was asked for while {doing}")
    if code == errno.ENOMEM:
        return BridgeStalled(
            f"{where}: no memory for USB transfers while {doing}: raise /sys/module/usbcore/parameters/usbfs_memory_mb"
        )
    return BridgeStalled(f"{where}: {doing} failed: {str(error)[:200]}")
