from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from backends.asic.errors import NotPermitted, Taken
from backends.asic.usb import hotplug, real
from backends.asic.usb.device import open_device
from backends.asic.usb.real import RealBus
from backends.base import DeviceGone
from tests.backends.asic.usb.plugged import COMPAC_F, Backend, Plugged, compac_f, moved, usb_error
from tests.backends.asic.usb.sysfs_tree import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def stick(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Plugged:
    """One Compac F, in sysfs and behind libusb."""
    device = compac_f()
    machine.plug(COMPAC_F, "ftdi_sio", "ttyUSB0")

    class OneDevice(Backend):
        def enumerate_devices(self) -> list[Plugged]:
            return [device]

    monkeypatch.setattr(real, "_libusb", OneDevice)
    return device


def test_what_is_scanned_can_be_opened_and_claimed(machine: Machine, stick: Plugged) -> None:
    bus = RealBus(machine.roots)
    (found,) = bus.scan()
    with open_device(bus, found, now=stick.clock) as device:
        device.bridge(0).write(b"x")
    assert stick.sent == [(2, b"x")]
    assert stick.kernel == {0: "back"}


def test_another_device_on_the_same_port_is_not_opened(machine: Machine, stick: Plugged) -> None:
    machine.unplug(COMPAC_F)
    machine.plug(moved(COMPAC_F, product="Laser Cutter"))
    with pytest.raises(DeviceGone, match="1-1"):
        RealBus(machine.roots).open(COMPAC_F)
    assert stick.opened == 0


def test_an_unplugged_device_is_gone(machine: Machine, stick: Plugged) -> None:
    machine.unplug(COMPAC_F)
    with pytest.raises(DeviceGone, match="1-1"):
        RealBus(machine.roots).open(COMPAC_F)


def test_a_device_that_libusb_does_not_see_is_gone(machine: Machine, stick: Plugged) -> None:
    (machine.roots.devices / "1-1" / "devnum").write_text("9\n")
    with pytest.raises(DeviceGone, match="1-1"):
        RealBus(machine.roots).open(COMPAC_F)


def test_a_terminal_in_use_is_not_pulled_from_under_its_program(machine: Machine, stick: Plugged) -> None:
    machine.run(12, "minicom", machine.roots.terminals / "ttyUSB0")
    with pytest.raises(Taken, match=r"minicom \(process 12\)"):
        RealBus(machine.roots).open(COMPAC_F)
    assert stick.calls == []


def test_a_device_that_may_not_be_opened_names_the_rule_and_stays_closed(machine: Machine, stick: Plugged) -> None:
    stick.failing["open"] = usb_error(errno.EACCES)
    with pytest.raises(NotPermitted, match=r"70-angara-miner\.rules"):
        RealBus(machine.roots).open(COMPAC_F)
    assert stick.opened == 0


def test_a_plug_is_noticed(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hotplug, "uevents", lambda: None)
    monkeypatch.setattr(hotplug, "POLL_S", 0.01)
    noticed = threading.Event()
    cancel = RealBus(machine.roots).watch(noticed.set)
    machine.plug(COMPAC_F)
    assert noticed.wait(10.0)
    cancel()


def test_a_real_libusb_loads() -> None:
    backend: Any = real._libusb()
    assert backend is real._libusb()
    assert hasattr(backend, "lib")


def test_looking_loads_neither_pyusb_nor_llvm() -> None:
    program = (
        "import sys; from backends.asic.usb.real import RealBus; from backends.asic.usb import device;"
        "RealBus().scan(); print(sorted({'usb', 'usb.core', 'llvmlite', 'libusb_package'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_opening_a_device_needs_is_loaded_ahead_and_no_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(real.ctypes, "CDLL", lambda path: loaded.append(str(path)))
    before = threading.active_count()
    real.preload()
    assert any("libusb" in path for path in loaded)
    assert {"usb.core", "usb.util", "usb.backend.libusb1"} <= sys.modules.keys()
    assert threading.active_count() == before


def test_a_library_that_cannot_be_loaded_ahead_is_left_to_the_opening_of_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(path: object) -> None:
        raise OSError(f"{path}: wrong ELF class")

    monkeypatch.setattr(real.ctypes, "CDLL", broken)
    real.preload()
