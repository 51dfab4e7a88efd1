"""Runs in the guest: plugs virtual boards in and looks at them through the real kernel, libusb and pyusb.

    usb_vm_guest.py PORT KIND...          prints one JSON object a line: a fact about a board

Nothing of the miner's is used: what a board answers here, it answers everybody.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import libusb_package
import usb.core
import usb.util
from usbip.protocol import client_import

GATEWAY = "10.0.2.2"
VHCI = Path("/sys/devices/platform/vhci_hcd.0")
PATIENCE_S = 20.0
FULL_SPEED = 2  # of the kernel's usb_device_speed
ASK_CHIP = bytes.fromhex("55aa520500000a")


def attach(port: int, place: int) -> None:
    """Import board `place` (from 1) into this kernel."""
    connection = socket.create_connection((GATEWAY, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    device = client_import(connection, f"1-{place}".encode())
    device_id = device["busnum"] << 16 | device["devnum"]
    (VHCI / "attach").write_text(f"{place - 1} {connection.fileno()} {device_id} {FULL_SPEED}")
    connection.detach()  # the kernel's from now on


def until(seen: Callable[[], object]) -> bool:
    """Whether it came to be seen in time."""
    end = time.monotonic() + PATIENCE_S
    while not (found := bool(seen())) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def drivers(device: usb.core.Device) -> list[str]:
    """The kernel's drivers that hold this device's interfaces, from sysfs."""
    base = f"{device.bus}-{'.'.join(map(str, device.port_numbers))}"
    links = sorted(Path("/sys/bus/usb/devices").glob(f"{base}:*/driver"))
    return [link.resolve().name for link in links]


def ftdi(device: usb.core.Device) -> bytes:
    """The chip id of a Compac F."""
    for request, value in ((0, 0), (4, 8), (3, 0x1A), (9, 1), (0x0B, 0x20F2), (0x0B, 0x20F0), (0x0B, 0x20F2)):
        device.ctrl_transfer(0x40, request, value, 0, None)
    device.write(0x02, ASK_CHIP)
    return read(device, 0x81, 9, strip=2)


def cp2105(device: usb.core.Device) -> bytes:
    """The chip id of a Compac A1, and its controller's version after it."""
    for interface, baud, line in ((0, 115_200, 0x0830), (1, 115_200, 0x0800)):
        device.ctrl_transfer(0x41, 0x00, 1, interface, None)
        device.ctrl_transfer(0x41, 0x1E, 0, interface, baud.to_bytes(4, "little"))
        device.ctrl_transfer(0x41, 0x03, line, interface, None)
    device.ctrl_transfer(0x41, 0xFF, 0x37E1, 0, b"\x07\x00")
    device.write(0x01, ASK_CHIP)
    device.write(0x02, b"?v")
    return read(device, 0x81, 9) + read(device, 0x82, 1)


def cdc_acm(device: usb.core.Device) -> bytes:
    """The chip id of a Bitaxe Gamma: regulator on, out of reset, then the question."""
    core_1150_mv, operate, release = bytes.fromhex("0520 2421 4d02"), bytes.fromhex("0520 2401 80"), b"\x06\x00\x01"
    for number, request in enumerate((core_1150_mv, operate, release)):
        frame = bytes((number, 0)) + request
        device.write(0x02, (len(frame) + 2).to_bytes(2, "little") + frame)
        read(device, 0x82, 3)
    device.ctrl_transfer(0x21, 0x20, 0, 2, (115_200).to_bytes(4, "little") + b"\0\0\x08")
    device.write(0x04, ASK_CHIP)
    return read(device, 0x84, 9)


def read(device: usb.core.Device, endpoint: int, length: int, strip: int = 0) -> bytes:
    """At least so many bytes of payload; `strip`: status bytes in front of each packet of 64."""
    data, end = b"", time.monotonic() + PATIENCE_S
    while len(data) < length and time.monotonic() < end:
        got = bytes(device.read(endpoint, 512, 2000))
        data += b"".join(got[at + strip : at + 64] for at in range(0, len(got), 64))
    return data


BOARDS = {
    "compac-f": (0x0403, 0x6015, [0], ftdi, 0x81),
    "compac-a1": (0x10C4, 0xEA70, [0, 1], cp2105, 0x81),
    "bitaxe-gamma": (0xC0DE, 0xCAFE, [0, 1, 2, 3], cdc_acm, 0x84),
}


def look(kind: str) -> dict[str, object]:
    """All there is to see of one board."""
    vendor, product, interfaces, ask, endpoint = BOARDS[kind]
    backend = libusb_package.get_libusb1_backend()
    found = usb.core.find(idVendor=vendor, idProduct=product, backend=backend)
    facts: dict[str, object] = {"kind": kind, "strings": [found.manufacturer, found.product, found.serial_number]}
    until(lambda: len(drivers(found)) == len(interfaces))
    facts["before"] = drivers(found)
    facts["ttys"] = sorted(path.name for path in Path("/dev").glob("tty[AU]*[0-9]"))
    try:
        usb.util.claim_interface(found, 0)
    except usb.core.USBError as error:
        facts["claim_while_bound"] = error.errno
    for interface in interfaces:
        if found.is_kernel_driver_active(interface):
            found.detach_kernel_driver(interface)
    for interface in interfaces:
        usb.util.claim_interface(found, interface)
    facts["detached"] = drivers(found)
    facts["answer"] = ask(found).hex()
    try:
        while True:
            if len(found.read(endpoint, 64, 300)) <= 2 and kind == "compac-f":
                facts["silence"] = "status only"
                break
    except usb.core.USBTimeoutError:
        facts["silence"] = "time-out"
    try:
        found.ctrl_transfer(0xC0, 0x77, 0, 0, 2)
    except usb.core.USBError as error:
        facts["unknown_request"] = error.errno
    for interface in interfaces:
        usb.util.release_interface(found, interface)
    for interface in interfaces:
        if not found.is_kernel_driver_active(interface):
            found.attach_kernel_driver(interface)
    facts["after"] = drivers(found)
    usb.util.dispose_resources(found)
    return facts


def main() -> None:
    port, kinds = int(sys.argv[1]), sys.argv[2:]
    for place, _ in enumerate(kinds, 1):
        attach(port, place)
    backend = libusb_package.get_libusb1_backend()
    until(lambda: len([d for d in usb.core.find(find_all=True, backend=backend) if d.idVendor != 0x1D6B]) == len(kinds))
    for kind in kinds:
        sys.stdout.write(json.dumps(look(kind)) + "\n")


if __name__ == "__main__":
    main()
