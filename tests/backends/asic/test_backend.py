"""What is plugged in and what becomes of it, on virtual boards and on the files of a made-up machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import native
from backends import registry
from backends.asic import AsicBackend, AsicOptions
from backends.asic.boards.script import Clock
from backends.asic.latch import Latches
from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.real import RealBus
from backends.asic.virtual import VirtualBus
from backends.base import (
    Backend,
    BackendError,
    DeviceGone,
    DeviceInfo,
    Guarded,
    Host,
    PowerSwitch,
    SettingRefused,
    Settings,
)
from tests.backends.asic.usb.sysfs_tree import Machine

HASTY = Clock(wait=lambda event, _seconds: event.wait(0.0) and None)
VENDOR = (UsbInterface(0, 0xFF),)
STICK = UsbIdentity("1-1", 0x0403, 0x6015, 0x1000, "GekkoScience", "CompacF Bitcoin Miner", "GSF1", VENDOR)
PRINTER = UsbIdentity("1-2", 0x10C4, 0xEA60, 0x100, "Silicon Labs", "CP2102 USB to UART", "0001", VENDOR)
BLANK = UsbIdentity("1-3", 0x0403, 0x6015, 0x1000, "FTDI", "FT230X Basic UART", "DK0X", VENDOR)
KEYBOARD = UsbIdentity("1-4", 0x046D, 0xC31C, 0x100, "Logitech", "Keyboard", None, (UsbInterface(0, 0x03, 0x01),))


@pytest.fixture
def bus() -> Iterator[VirtualBus]:
    opened = VirtualBus(["compac-f,serial=A", "bitaxe-gamma,serial=B", "compac-a1,serial=C"], scale=2.0**-20)
    yield opened
    opened.close()


def looking(machine: Machine, host: Host | None = None, **options: Any) -> AsicBackend:
    return AsicBackend(AsicOptions(**options), host or Host(), buses=(RealBus(machine.roots),))


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}


def test_it_is_installed_as_a_backend() -> None:
    assert registry.load("asic") is AsicBackend
    made = AsicBackend(AsicOptions(), Host(), buses=())
    assert isinstance(made, Backend) and isinstance(made, PowerSwitch)
    assert made.probe() == []


def test_looking_around_loads_neither_a_compiler_nor_libusb() -> None:
    program = """
import sys
from backends.base import Host
from backends.registry import load
backend = load("asic")
backend(backend.Options(), Host()).probe()
found = [name for name in ("llvmlite", "usb") if name in sys.modules]
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_miners_are_known_by_their_strings_other_bridges_listed_and_nothing_is_touched(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for identity in (STICK, PRINTER, BLANK, KEYBOARD):
        machine.plug(identity, driver="ftdi_sio")
    before = snapshot(tmp_path)
    stick, printer, blank = looking(machine, allow_unproven=True).probe()
    assert snapshot(tmp_path) == before
    assert (stick.id, stick.model, stick.unusable, stick.virtual) == ("asic:GSF1", "GekkoScience Compac F", None, False)
    assert (printer.id, blank.id) == ("usb:0001", "usb:DK0X")
    for other in (printer, blank):
        assert "not recognised as a miner, and left alone" in str(other.unusable)
        assert other.harmless
        assert f'claim = ["{other.id}"]' in str(other.unusable)
        with pytest.raises(BackendError):
            looking(machine).open(other)
        with pytest.raises(BackendError, match="nothing is written to it"):
            looking(machine).turn_off(other)


def test_what_the_operator_claims_is_the_board_behind_such_a_bridge(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for identity in (PRINTER, BLANK):
        machine.plug(identity)
    claimed = looking(machine, claim=("usb:DK0X", "usb:1-2"), allow_unproven=True).probe()
    assert [(info.id, info.model, info.unusable is None) for info in claimed] == [
        ("usb:0001", "CP2102 USB to UART", False),  # no known board has such a bridge
        ("asic:DK0X", "GekkoScience Compac F", True),
    ]


def test_a_board_nobody_has_seen_mine_needs_consent_and_starts_at_its_lowest_clock(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.plug(STICK)
    [refused] = looking(machine).probe()
    assert "allow_unproven = true" in str(refused.unusable)
    [allowed] = looking(machine, allow_unproven=True).probe()
    assert dict(allowed.details)["clock"] == "100 MHz"
    assert allowed.expected_hps == 672 * 100e6
    for name in ("GSF1", "compac-f"):
        [told] = looking(machine, allow_unproven=True, boards={name: {"frequency_hz": 310e6}}).probe()
        assert dict(told.details)["clock"] == "300 MHz"


@pytest.mark.parametrize("hertz", [310.0, 310e9])
def test_a_clock_beyond_the_boards_table_keeps_it_off_and_is_named(tmp_path: Path, hertz: float) -> None:
    machine = Machine(tmp_path)
    machine.plug(STICK)
    [told] = looking(machine, allow_unproven=True, boards={"GSF1": {"frequency_hz": hertz}}).probe()
    assert told.unusable is not None and "100 to 600 MHz can be had" in told.unusable


def test_a_latched_board_says_so_and_what_to_do(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.plug(STICK)
    host = Host(tmp_path)
    Latches(tmp_path).latch("GSF1", "too hot")
    backend = looking(machine, host, allow_unproven=True)
    assert "too hot" in str(backend.probe()[0].unusable) and "miner unlatch GSF1" in str(backend.probe()[0].unusable)
    assert not backend.probe()[0].harmless
    assert not backend.unlatch("GSF2")
    assert backend.unlatch("asic:GSF1")
    assert backend.probe()[0].unusable is None


@pytest.mark.parametrize(("order", "rest_s"), [("compac-a1", 60.0), ("bitaxe-gamma", 300.0), ("compac-f", 60.0)])
def test_a_board_that_rests_is_usable_and_says_until_when(tmp_path: Path, order: str, rest_s: float) -> None:
    Latches(tmp_path).trip("A", "chip is at 96 degrees")
    bus = VirtualBus([f"{order},serial=A"])
    try:
        [info] = AsicBackend(AsicOptions(), Host(tmp_path), buses=(bus,)).probe()
    finally:
        bus.close()
    assert info.unusable is None and info.resting is not None
    assert info.resting.reason == "chip is at 96 degrees"
    assert info.resting.until - info.resting.since == pytest.approx(rest_s)


def test_a_trip_from_outside_is_recorded_as_a_supervisors_and_the_third_within_an_hour_latches(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.plug(STICK)
    backend = looking(machine, Host(tmp_path), allow_unproven=True)
    assert isinstance(backend, Guarded)
    [info] = backend.probe()
    Latches(tmp_path, lambda: time.time() - 4000.0).trip("GSF1")
    for _ in range(2):
        backend.trip(info, "its miner was stopped")
        [again] = backend.probe()
        assert again.unusable is None, "the first one was longer ago than an hour"
        assert again.resting is not None and again.resting.reason == "its miner was stopped"
    backend.trip(info, "its miner was stopped")
    assert "its miner was stopped; turned off 3 times within 60 minutes" in str(backend.probe()[0].unusable)
    assert len(Latches(tmp_path).ages_s("GSF1")) == 4


def test_the_trip_of_a_board_that_was_unplugged_is_recorded_for_when_it_is_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.plug(STICK)
    backend = looking(machine, Host(tmp_path))
    [info] = backend.probe()
    machine.unplug(STICK)
    backend.trip(info, "its miner was stopped")
    assert len(Latches(tmp_path).ages_s("GSF1")) == 1


def test_a_trip_and_the_probe_agree_on_which_board_is_meant(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine")
    machine.plug(replace(STICK, serial=None))
    backend = looking(machine, Host(tmp_path))
    [info] = backend.probe()
    backend.trip(info, "its miner was stopped")
    assert len(Latches(tmp_path).ages_s("1-1")) == 1
    [rests] = backend.probe()
    assert rests.resting is not None


def test_turning_a_board_off_loads_no_compiler(
    bus: VirtualBus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def compiler() -> None:
        raise AssertionError("llvmlite takes seconds to load on a small computer")

    monkeypatch.setattr(native, "host_features", compiler)
    backend = AsicBackend(AsicOptions(), Host(tmp_path), buses=(bus,))
    for info in backend.probe():
        backend.turn_off(info)


def test_sticks_of_one_serial_number_are_told_apart_by_their_ports(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.plug(STICK)
    machine.plug(UsbIdentity("1-9", *(getattr(STICK, name) for name in UsbIdentity.__slots__[1:8])))
    assert [info.id for info in looking(machine).probe()] == ["asic:1-1", "asic:1-9"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"virtual": ["compac-x"]}, "no virtual board 'compac-x'"),
        ({"claim": ["GSF1"]}, "usb:SERIAL"),
        ({"boards": {"compac-f": {"frequency_hz": 1e6}}}, "a GekkoScience Compac F has clocks of"),
        ({"boards": {"compac-f": {"frequency_hz": 601e6}}}, "100 to 600 MHz"),
        ({"boards": {"F1": {"volts": 1}}}, "Extra inputs"),
        ({"allow_unproven": 1}, "valid boolean"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_words(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        AsicOptions(**options)


def test_limits_are_made_stricter_and_never_looser(bus: VirtualBus) -> None:
    options = AsicOptions.model_validate({"boards": {"B": {"throttle_c": 60.0, "cutoff_c": 99.0}}})
    backend = AsicBackend(options, Host(), buses=(bus,))
    limits = {info.serial: backend.open(info)._equipment.limits for info in backend.probe()}  # type: ignore[attr-defined]
    assert (limits["B"].throttle_c, limits["B"].cutoff_c) == (60.0, 80.0)
    assert (limits["A"].throttle_c, limits["C"].cutoff_c) == (None, 110.0)


def test_what_is_not_plugged_in_any_more_is_gone(bus: VirtualBus) -> None:
    backend = AsicBackend(AsicOptions(), Host(), buses=(bus,))
    infos = backend.probe()
    changes: list[int] = []
    cancel = backend.watch(lambda: changes.append(1))
    bus.unplug("virtual-2")
    assert changes == [1]
    cancel()
    assert [info.serial for info in backend.probe()] == ["A", "C"]
    with pytest.raises(DeviceGone, match="asic:B is not plugged in"):
        backend.open(infos[1])
    bus.replug("virtual-2")
    assert backend.open(infos[1]).apply(Settings()) == Settings()
    assert changes == [1]


@pytest.mark.parametrize("path", ["virtual-1", "virtual-2", "virtual-3"])
def test_turning_off_puts_the_chips_in_reset_and_gives_the_device_back(bus: VirtualBus, path: str, state: Path) -> None:
    backend = AsicBackend(AsicOptions(), Host(state), buses=(bus,), clock=HASTY)
    info = next(info for info in backend.probe() if f"at {path}" in dict(info.details)["USB"])
    identity = next(identity for identity in bus.scan() if identity.path == path)
    board, chain = _powered(backend, bus, info), bus.board(path).chain
    assert chain._powered
    board.close()  # its miner is gone without turning it off
    assert chain._powered
    backend.turn_off(info)
    assert not chain._powered
    assert next(now for now in bus.scan() if now.path == path).interfaces == identity.interfaces, "drivers are back"


def _powered(backend: AsicBackend, bus: VirtualBus, info: DeviceInfo) -> Any:
    plugged = backend._plugged(info)
    assert plugged.kind is not None
    board, _ = backend._open_board(plugged, plugged.kind)
    board.bring_up()
    return board


def test_voltage_is_refused_on_every_board(bus: VirtualBus) -> None:
    backend = AsicBackend(AsicOptions(), Host(), buses=(bus,))
    for info in backend.probe():
        with pytest.raises(SettingRefused, match="no source says which voltages"):
            backend.open(info).apply(Settings(voltage_v=1.0))


def test_what_takes_long_to_compile_is_compiled_before_a_board_is_started_and_not_to_turn_it_off(
    bus: VirtualBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    backend = AsicBackend(AsicOptions(), Host(), buses=(bus,))
    monkeypatch.setattr(backend, "_midstates", lambda: lambda _prefix, _versions: calls.append(1))
    infos = {info.serial: info for info in backend.probe()}

    def prepared(serial: str) -> int:
        backend.open(infos[serial])._equipment.prepare()  # type: ignore[attr-defined]
        return len(calls)

    assert prepared("B") == 0, "it takes whole headers"
    backend.turn_off(infos["A"])
    assert not calls
    assert prepared("A") == 1
