"""A machine's USB devices as files: the parts of /sys, /dev and /proc that discovery reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from backends.asic.usb.bus import UsbIdentity
from backends.asic.usb.sysfs import Roots


class Machine:
    """Plug things in and out; `roots` is how the scan sees them."""

    def __init__(self, folder: Path) -> None:
        self.roots = Roots(folder / "sys", folder / "usb", folder / "dev", folder / "proc", self.accessible)
        for each in (self.roots.devices, self.roots.nodes, self.roots.terminals, self.roots.proc):
            each.mkdir(parents=True)
        self.forbidden: set[Path] = set()
        self._next = 2
        self._drivers = folder / "drivers"
        (self.roots.devices / "usb1").mkdir()

    def accessible(self, node: Path) -> bool:
        return node not in self.forbidden

    def plug(self, identity: UsbIdentity, driver: str | None = None, terminal: str | None = None) -> Path:
        """Its folder in sysfs. `terminal`: such as "ttyUSB0" or "tty/ttyACM0", in its first interface."""
        folder = self.roots.devices / identity.path
        address, self._next = self._next, self._next + 1
        node = self.roots.nodes / "001" / f"{address:03d}"
        node.parent.mkdir(exist_ok=True)
        node.touch()
        self._write(
            folder,
            idVendor=f"{identity.vid:04x}",
            idProduct=f"{identity.pid:04x}",
            bcdDevice=f"{identity.bcd_device:04x}",
            bDeviceClass="00",
            bConfigurationValue="1",
            bMaxPower="100mA",
            authorized="1",
            busnum="1",
            devnum=str(address),
            manufacturer=identity.manufacturer,
            product=identity.product,
            serial=identity.serial,
        )
        for interface in identity.interfaces:
            inner = self.roots.devices / f"{identity.path}:1.{interface.number}"
            self._write(
                inner,
                bInterfaceNumber=f"{interface.number:02x}",
                bInterfaceClass=f"{interface.class_code:02x}",
                bInterfaceSubClass=f"{interface.subclass_code:02x}",
            )
            if driver:
                (inner / "driver").symlink_to(self._drivers / driver)
            if terminal and not interface.number:
                (inner / terminal).mkdir(parents=True)
        return folder

    def unplug(self, identity: UsbIdentity) -> None:
        for folder in [*self.roots.devices.glob(f"{identity.path}:*"), self.roots.devices / identity.path]:
            shutil.rmtree(folder)

    def node(self, identity: UsbIdentity) -> Path:
        address = int((self.roots.devices / identity.path / "devnum").read_text())
        return self.roots.nodes / "001" / f"{address:03d}"

    def run(self, pid: int, name: str, *files: Path) -> None:
        """A process that has these files open."""
        self._write(self.roots.proc / str(pid), comm=name)
        for number, file in enumerate(files):
            link = self.roots.proc / str(pid) / "fd" / str(number)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(file)

    def _write(self, folder: Path, **attributes: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in attributes.items():
            if text is not None:
                (folder / name).write_text(text + "\n")
