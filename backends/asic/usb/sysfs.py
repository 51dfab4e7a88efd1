"""What the kernel knows of the plugged-in USB devices, read from sysfs: nothing is opened, nothing is sent to them.

Source: Linux Documentation/ABI, sysfs-bus-usb. The texts are the device's own and may hold anything.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from backends.asic.usb import holder, udev
from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.descriptors import INTERFACES_MAX

TEXT_MAX = 126  # characters that a USB string descriptor can hold
DEVICES_MAX = 1024
_ATTRIBUTE_MAX = 1024  # bytes
_PORT = re.compile(r"\d{1,4}-\d{1,3}(\.\d{1,3}){0,6}")  # bus, then the ports on the way; a root hub is "usb1"
_HUB = 0x09
_USBFS = "usbfs"  # the driver of an interface that some program has claimed


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel's views stand; elsewhere in tests."""

    devices: Path = Path("/sys/bus/usb/devices")
    nodes: Path = Path("/dev/bus/usb")
    terminals: Path = Path("/dev")
    proc: Path = Path("/proc")
    accessible: Callable[[Path], bool] = lambda node: os.access(node, os.R_OK | os.W_OK)


@dataclass(frozen=True, slots=True)
class Place:
    """Where libusb finds a device, and the terminals that the kernel made of it."""

    bus: int
    address: int
    node: Path
    terminals: tuple[Path, ...]


class _Vanished(Exception):
    """Unplugged, or not a device, while it was read."""


def scan(roots: Roots) -> list[UsbIdentity]:
    """Every plugged-in device but hubs, by port. A system without USB has none."""
    interfaces: defaultdict[str, list[str]] = defaultdict(list)
    try:
        names = os.listdir(roots.devices)  # noqa: PTH208  bare names are what is wanted, thousands at a time
    except OSError:
        return []
    for name in sorted(names):
        port, colon, _ = name.partition(":")
        if colon:
            interfaces[port].append(name)
    ports = sorted((name for name in names if _PORT.fullmatch(name)), key=_natural)[:DEVICES_MAX]
    look = holder.OneLook(roots.proc)
    return [found for port in ports for found in _identity(roots, port, interfaces[port][:INTERFACES_MAX], look)]


def identity(roots: Roots, port: str) -> UsbIdentity | None:
    """The device on this port now; None when there is none."""
    if not _PORT.fullmatch(port):
        return None
    names = sorted(path.name for path in roots.devices.glob(f"{port}:*"))
    return next(_identity(roots, port, names[:INTERFACES_MAX], holder.OneLook(roots.proc)), None)


def place(roots: Roots, port: str) -> Place | None:
    """None when nothing is plugged in there."""
    if not _PORT.fullmatch(port):
        return None
    try:
        return _place(roots, port)
    except _Vanished:
        return None


def _identity(roots: Roots, port: str, interface_names: list[str], look: holder.OneLook) -> Iterator[UsbIdentity]:
    folder = roots.devices / port
    try:
        if _hex(folder, "bDeviceClass", 0xFF) == _HUB:
            return
        interfaces = tuple(_interfaces(roots, interface_names))
        known = UsbIdentity(
            path=port,
            vid=_hex(folder, "idVendor", 0xFFFF),
            pid=_hex(folder, "idProduct", 0xFFFF),
            bcd_device=_hex(folder, "bcdDevice", 0xFFFF),
            manufacturer=_text(folder, "manufacturer"),
            product=_text(folder, "product"),
            serial=_text(folder, "serial"),
            interfaces=tuple(sorted(interfaces, key=lambda i: i.number)),
        )
        yield replace(known, obstacle=_obstacle(roots, known, look))
    except _Vanished:
        return


def _interfaces(roots: Roots, names: list[str]) -> Iterator[UsbInterface]:
    for name in names:
        folder = roots.devices / name
        try:
            yield UsbInterface(
                number=_hex(folder, "bInterfaceNumber", 0xFF),
                class_code=_hex(folder, "bInterfaceClass", 0xFF),
                subclass_code=_hex(folder, "bInterfaceSubClass", 0xFF),
                driver=_driver(folder),
            )
        except _Vanished:
            continue


def _obstacle(roots: Roots, known: UsbIdentity, look: holder.OneLook) -> str | None:
    folder = roots.devices / known.path
    node = _node(roots, folder)
    if _text(folder, "authorized") == "0":
        return f"the system does not authorise it: as root, echo 1 > {folder}/authorized"
    if not _text(folder, "bConfigurationValue"):
        draw = _text(folder, "bMaxPower")
        needs = f" ({draw} that it asks for)" if draw else ""
        return f"not configured, most likely for lack of power{needs}: use a hub with its own supply, or another port"
    if not os.path.exists(node):  # noqa: PTH110  Path's raises where the way there may not be looked at
        return f"{node} is not to be seen: in a container, pass /dev/bus/usb in"
    if not roots.accessible(node):
        return udev.remedy(known, node)
    if any(interface.driver == _USBFS for interface in known.interfaces):
        return look.obstacle(node)
    return None


def _place(roots: Roots, port: str) -> Place:
    folder = roots.devices / port
    # usb-serial puts its terminal into the interface's folder, cdc_acm into one named tty there.
    names = (path.name for pattern in ("ttyUSB*", "tty/tty*") for path in roots.devices.glob(f"{port}:*/{pattern}"))
    terminals = tuple(roots.terminals / name for name in sorted(names))
    return Place(_decimal(folder, "busnum"), _decimal(folder, "devnum"), _node(roots, folder), terminals)


def _node(roots: Roots, folder: Path) -> Path:
    return roots.nodes / f"{_decimal(folder, 'busnum'):03d}" / f"{_decimal(folder, 'devnum'):03d}"


def _natural(port: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", port)]


def _driver(folder: Path) -> str | None:
    try:
        return (folder / "driver").readlink().name[:TEXT_MAX]
    except OSError:
        return None


def _raw(folder: Path, name: str) -> bytes | None:
    """None: the device has no such attribute."""
    try:
        with (folder / name).open("rb") as file:
            return file.read(_ATTRIBUTE_MAX)
    except OSError:
        return None


def _text(folder: Path, name: str) -> str | None:
    """Bounded and printable; None for absent or empty."""
    raw = _raw(folder, name)
    text = (raw or b"").decode("utf-8", "replace").strip()[:TEXT_MAX].strip()
    return "".join(c if c.isprintable() else "\ufffd" for c in text) or None


def _hex(folder: Path, name: str, largest: int) -> int:
    return _number(folder, name, 16, largest)


def _decimal(folder: Path, name: str) -> int:
    return _number(folder, name, 10, 999)


def _number(folder: Path, name: str, base: int, largest: int) -> int:
    raw = _raw(folder, name)
    if raw is None or not re.fullmatch(rb"\s*[0-9a-fA-F]{1,8}\s*", raw):
        raise _Vanished
    try:
        value = int(raw, base)
    except ValueError:
        raise _Vanished from None
    if value > largest:
        raise _Vanished
    return value
