"""Runs in the guest: the miner's own USB stack on a real kernel and libusb. One JSON object: what was seen.

usb_stack_guest.py PORT          expects a Compac F, a Bitaxe Gamma and a Compac A1 as boards 1, 2 and 3
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backends.asic.usb import real
from backends.asic.usb.bridge import Bridge, Parity
from backends.asic.usb.bus import UsbIdentity
from backends.asic.usb.device import open_device, reopen
from backends.asic.usb.real import RealBus
from backends.base import BackendError
from tests.real.usb_vm_guest import ASK_CHIP, VHCI, attach, until

NOBODY = 65_534
CHIP_S = 3.0


class Notices:
    """How often the watch told that something changed."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def other_program(*, rights: bool) -> Callable[[], Any]:
    """A process of its own, forked before libusb has threads, which tries to have the first device when it is called.

    The call gives what it is told: by looking, and by trying.
    """
    go, start = os.pipe()
    answer, said = os.pipe()
    if not os.fork():
        try:
            os.read(go, 1)
            if not rights:
                give_up_rights()
            bus = RealBus()
            first = bus.scan()[0]
            os.write(said, json.dumps([first.obstacle, refusal(bus, first)]).encode())
        finally:
            os._exit(0)
    os.close(said)

    def ask() -> Any:
        os.write(start, b"!")
        return json.loads(os.read(answer, 65_536))

    return ask


def give_up_rights() -> None:
    real._libusb()  # its file may lie where only root can read
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def refusal(bus: RealBus, identity: UsbIdentity) -> str | None:
    """Why it cannot be opened and claimed; None: it can."""
    try:
        with open_device(bus, identity) as device:
            device.bridge(0)
    except BackendError as error:
        return f"{type(error).__name__}: {error}"
    return None


def drivers(bus: RealBus, path: str) -> list[str | None]:
    return [interface.driver for found in bus.scan() if found.path == path for interface in found.interfaces]


def chip(bridge: Bridge) -> str:
    """What the chips answer to a question for their id."""
    bridge.write(ASK_CHIP)
    data, end = b"", time.monotonic() + CHIP_S
    while len(data) < 9 and time.monotonic() < end:
        data += bridge.read(0.5)
    return data[:9].hex()


def compac_f(bus: RealBus, identity: UsbIdentity, second: Callable[[], Any]) -> dict[str, Any]:
    bridge = (device := open_device(bus, identity)).bridge(0)
    facts: dict[str, Any] = {"baud": bridge.set_baud(115_200), "claimed": drivers(bus, identity.path)}
    bridge.gpio(0x0F, 0x02)
    time.sleep(0.3)
    facts["chip"] = chip(bridge)
    began = time.monotonic()
    facts["silence"] = [bridge.read(0.5).hex(), time.monotonic() - began]
    facts["second_program"] = second()
    facts["chip_after_second_program"] = chip(bridge)
    facts["obstacle_of_ours"] = next(found.obstacle for found in bus.scan() if found.path == identity.path)
    device.port_reset()
    bridge.reset()
    bridge.set_baud(115_200)
    bridge.gpio(0x0F, 0x02)
    time.sleep(0.3)
    facts["chip_after_port_reset"] = chip(bridge)
    bridge.close()
    return facts | {"after": drivers(bus, identity.path)}


def gamma(bus: RealBus, identity: UsbIdentity) -> dict[str, Any]:
    with open_device(bus, identity) as device:
        control, _chips = device.bridge(0), device.bridge(1)
        claimed = drivers(bus, identity.path)
        control.write(bytes.fromhex("07000100060001"))  # length, id 1, bus, page of pins, pin 0, high
        answer = control.read(2.0).hex()
    return {"claimed": claimed, "answer": answer, "after": drivers(bus, identity.path)}


def compac_a1(bus: RealBus, identity: UsbIdentity) -> dict[str, Any]:
    with open_device(bus, identity) as device:
        chips, telemetry = device.bridge(0, Parity.MARK), device.bridge(1)
        claimed = drivers(bus, identity.path)
        chips.set_baud(115_200)
        telemetry.set_baud(115_200)
        chips.gpio(0x07, 0x00)
        time.sleep(0.3)
        telemetry.write(b"?v")
        facts = {"claimed": claimed, "version": telemetry.read(2.0).decode("latin-1"), "chip": chip(chips)}
    return facts | {"after": drivers(bus, identity.path)}


def terminal_in_use(bus: RealBus, identity: UsbIdentity) -> str | None:
    """With some program on the device's terminal."""
    (terminal,) = Path(f"/sys/bus/usb/devices/{identity.path}:1.0").glob("ttyUSB*")
    with Path("/dev", terminal.name).open("rb") as line, subprocess.Popen(["sleep", "60"], stdin=line) as program:
        line.close()
        try:
            return refusal(bus, identity)
        finally:
            program.kill()


def unplugged(bus: RealBus, identity: UsbIdentity, port: int, notices: Notices) -> dict[str, Any]:
    """In the middle of a read; then plugged in again."""
    bridge = (device := open_device(bus, identity)).bridge(0)
    before = notices.count
    began = time.monotonic()
    threading.Timer(1.0, lambda: (VHCI / "detach").write_text("0")).start()
    error = ""
    try:
        bridge.read(20.0)
    except BackendError as gone:
        error = f"{type(gone).__name__}: {gone}"
    facts: dict[str, Any] = {"error": error, "read_s": time.monotonic() - began}
    device.close()
    until(lambda: notices.count > before)
    facts["while_away"] = refusal(bus, identity) if not drivers(bus, identity.path) else "still there"
    before = notices.count
    attach(port, 1)
    facts["noticed"] = until(lambda: notices.count > before and drivers(bus, identity.path) == ["ftdi_sio"])
    with reopen(bus, identity) as again:
        bridge = again.bridge(0)
        bridge.set_baud(115_200)
        bridge.gpio(0x0F, 0x02)
        time.sleep(0.3)
        facts["chip"] = chip(bridge)
    return facts


def main() -> None:
    port = int(sys.argv[1])
    nobody, second = other_program(rights=False), other_program(rights=True)
    bus, notices = RealBus(), Notices()
    end = bus.watch(notices)
    for place in (1, 2, 3):
        attach(port, place)
    until(lambda: [bool(i.driver) for found in bus.scan() for i in found.interfaces] == [True] * 7)
    stick, board, two_ports = bus.scan()
    facts: dict[str, Any] = {
        "scan": [[found.path, found.manufacturer, found.product, found.obstacle] for found in bus.scan()],
        "noticed": notices.count > 0,
        "nobody": nobody(),
        "compac_f": compac_f(bus, stick, second),
        "gamma": gamma(bus, board),
        "compac_a1": compac_a1(bus, two_ports),
        "terminal": terminal_in_use(bus, stick),
        "terminal_driver": drivers(bus, stick.path),
        "unplugged": unplugged(bus, stick, port, notices),
    }
    end()
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
