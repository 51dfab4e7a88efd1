"""`miner off` and `miner unlatch`: what is turned off, what is left to whoever drives it, what is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import BackendError, Capability, Device, DeviceGone, DeviceInfo, Kind
from miner.commands.cli import main
from miner.rig import locks
from miner.rig import off as switch
from miner.rig.inventory import Found, Inventory
from miner.rig.locks import lock_device

TICKS = frozenset({Capability.FREQUENCY})
FIRST = DeviceInfo("asic:A", "asic", Kind.ASIC, "Compac F", serial="A", capabilities=TICKS)
SECOND = DeviceInfo("asic:B", "asic", Kind.ASIC, "Bitaxe Gamma", serial="B", capabilities=TICKS, unusable="latched")
STRANGER = DeviceInfo("usb:P", "asic", Kind.ASIC, "a printer", serial="P", unusable="not recognised")
CPU = DeviceInfo("cpu:0", "cpu", Kind.CPU, "a processor", capabilities=TICKS)


class Plain:
    name, Options = "cpu", object

    def probe(self) -> list[DeviceInfo]:
        return []

    def open(self, info: DeviceInfo) -> Device:
        raise AssertionError

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError


class Switched(Plain):
    name = "asic"

    def __init__(self) -> None:
        self.turned_off: list[str] = []
        self.latched = {"B"}
        self.breaks: BackendError | None = None

    def turn_off(self, info: DeviceInfo) -> None:
        if self.breaks:
            raise self.breaks
        self.turned_off.append(info.id)

    def unlatch(self, serial: str) -> bool:
        was = serial in self.latched
        self.latched.discard(serial)
        return was


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Switched:
    asic, cpu = Switched(), Plain()
    found = [Found(asic, info) for info in (FIRST, SECOND, STRANGER)] + [Found(cpu, CPU)]  # type: ignore[arg-type]
    inventory = Inventory(tuple(found), (), (asic, cpu))  # type: ignore[arg-type]
    monkeypatch.setattr(switch, "take_inventory", lambda *_: inventory)
    monkeypatch.setattr(locks, "_RUN_LOCK", tmp_path)
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return asic


def test_every_recognised_board_is_turned_off_a_latched_one_too_and_nothing_else(
    backend: Switched, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["off"]) == 0
    assert backend.turned_off == ["asic:A", "asic:B"]
    assert "asic:A (Compac F): off" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["asic:B", "1", "gamma"])
def test_one_can_be_named_as_for_mining(backend: Switched, name: str) -> None:
    assert main(["off", "--device", name]) == 0
    assert backend.turned_off == ["asic:B"]


@pytest.mark.parametrize("name", ["asic:Z", "cpu:0", "usb:P"])
def test_a_name_that_means_nothing_to_turn_off_is_a_failure(
    backend: Switched, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["off", "--device", name]) == 1
    assert not backend.turned_off
    assert f"--device {name}: nothing there" in capsys.readouterr().err


def test_what_another_miner_drives_is_left_to_it(
    backend: Switched, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = lock_device(FIRST, [tmp_path])
    assert lock is not None
    with lock:
        assert main(["off"]) == 1
    assert backend.turned_off == ["asic:B"]
    assert "asic:A: in use by the miner with pid" in capsys.readouterr().err
    assert main(["off"]) == 0, "the locks that it took itself are free again"


def test_where_nothing_can_be_locked_off_is_the_safe_side(
    backend: Switched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(locks, "lock_folders", lambda *_: [tmp_path / "gone" / "there"])
    assert main(["off"]) == 0
    assert backend.turned_off == ["asic:A", "asic:B"]


def test_a_board_that_may_be_on_is_said_to_be(backend: Switched, capsys: pytest.CaptureFixture[str]) -> None:
    backend.breaks = DeviceGone("transfers fail")
    assert main(["off"]) == 1
    assert "asic:A (Compac F): may be on: transfers fail" in capsys.readouterr().err


def test_unlatching_is_said_once_and_only_where_something_was_latched(
    backend: Switched, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["unlatch", "B"]) == 0
    assert "B: may start again" in capsys.readouterr().out
    assert main(["unlatch", "B"]) == 1
    assert "B is not kept off" in capsys.readouterr().err
