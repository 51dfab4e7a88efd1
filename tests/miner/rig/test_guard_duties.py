"""What a guard does about devices and leaves behind: trips, a notice for the next start, and boards that are off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from structlog.testing import LogCapture

from backends.base import BackendError, Capability, Device, DeviceGone, DeviceInfo, Host, Kind
from miner.config import Configuration
from miner.rig import guard_duties, guard_notice, locks
from miner.rig.guard_duties import MinerOff
from miner.rig.inventory import Found, Inventory
from miner.rig.locks import lock_device

FIRST, SECOND, THIRD = (
    DeviceInfo(f"asic:{name}", "asic", Kind.ASIC, "a board", capabilities=frozenset({Capability.FREQUENCY}))
    for name in "ABC"
)


class Boards:
    """A backend with a power switch, for a guard."""

    name, Options = "asic", object

    def __init__(self) -> None:
        self.there = [FIRST, SECOND]
        self.probes = 0
        self.ready = 0
        self.trips: list[tuple[str, str]] = []
        self.turned_off: list[str] = []
        self.breaks: BackendError | None = None
        self.breaks_for: list[str] = ["asic:A", "asic:B"]

    def probe(self) -> list[DeviceInfo]:
        self.probes += 1
        return self.there

    def open(self, info: DeviceInfo) -> Device:
        raise AssertionError

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        raise AssertionError

    def turn_off(self, info: DeviceInfo) -> None:
        if self.breaks and info.id in self.breaks_for:
            raise self.breaks
        self.turned_off.append(info.id)

    def unlatch(self, serial: str) -> bool:
        raise AssertionError

    def make_ready(self) -> None:
        self.ready += 1

    def trip(self, info: DeviceInfo, reason: str) -> None:
        if self.breaks and info.id in self.breaks_for:
            raise self.breaks
        self.trips.append((info.id, reason))


@pytest.fixture
def boards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Boards:
    backend = Boards()
    found = tuple(Found(cast("Any", backend), info) for info in backend.there)
    asked: list[Configuration] = []

    def take(configuration: Configuration, _host: Host, _of: type[Any]) -> Inventory:
        asked.append(configuration)
        return Inventory(found, (), (cast("Any", backend),))

    monkeypatch.setattr(guard_duties, "take_inventory", take)
    monkeypatch.setattr(locks, "_RUN_LOCK", tmp_path)
    monkeypatch.chdir(tmp_path)
    return backend


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[LogCapture]:
    capture = LogCapture()
    monkeypatch.setattr("miner.logs.output.configure", lambda *_, **__: structlog.configure(processors=[capture]))
    yield capture
    structlog.reset_defaults()


def events(said: LogCapture) -> list[tuple[str, str]]:
    """What was said after it was ready."""
    return [(entry["event"], entry["log_level"]) for entry in said.entries if entry["event"] != "guard_ready"]


def duties(tmp_path: Path, *flags: str) -> MinerOff:
    state = tmp_path / "state"
    state.mkdir(exist_ok=True)
    return MinerOff([f"--state-dir={state}", *flags], {"HOME": str(tmp_path)})


def test_why_is_said_a_trip_recorded_of_each_device_and_a_notice_kept(
    boards: Boards, tmp_path: Path, said: LogCapture
) -> None:
    duties(tmp_path).record(["asic:B"], "its miner was stopped")
    assert boards.ready == 1
    assert boards.trips == [("asic:B", "its miner was stopped")]
    [notice] = guard_notice.take(tmp_path / "state")
    assert (notice.device, notice.reason) == ("asic:B", "its miner was stopped")
    assert events(said) == [("guard_kills_miner", "error")]


def test_one_device_is_turned_off_and_no_other(boards: Boards, tmp_path: Path, said: LogCapture) -> None:
    assert duties(tmp_path).turn_off("asic:B")
    assert boards.turned_off == ["asic:B"]
    assert said.entries[-1]["text"] == "asic:B (a board): off"


def test_what_is_on_held_by_another_miner_or_not_there_is_not_called_off(
    boards: Boards, tmp_path: Path, said: LogCapture
) -> None:
    guard = duties(tmp_path)
    lock = lock_device(FIRST, [tmp_path])
    assert lock is not None
    with lock:
        assert not guard.turn_off("asic:A")
    boards.breaks = DeviceGone("transfers fail")
    assert not guard.turn_off("asic:A")
    assert not guard.turn_off("asic:Z")
    guard.give_up("asic:A")
    assert events(said) == [*[("guard_turns_off", "error")] * 3, ("device_not_off", "error")]
    assert "unplug it" in said.entries[-1]["hint"]


def test_devices_that_the_guard_knows_are_recorded_and_turned_off_without_another_probe(
    boards: Boards, tmp_path: Path, said: LogCapture
) -> None:
    guard = duties(tmp_path)
    guard.record(["asic:A", "asic:B"], "stopped")
    assert guard.turn_off("asic:A")
    assert boards.probes == 0, "the devices have power while a probe takes its time"


def test_a_device_that_was_plugged_in_after_the_guard_had_begun_is_found_by_another_probe(
    boards: Boards, tmp_path: Path, said: LogCapture
) -> None:
    guard = duties(tmp_path)
    boards.there = [FIRST, SECOND, THIRD]
    guard.record(["asic:A", "asic:C"], "stopped")
    assert boards.trips == [("asic:A", "stopped"), ("asic:C", "stopped")]
    assert guard.turn_off("asic:C")
    assert boards.turned_off == ["asic:C"]


def test_one_trip_that_cannot_be_recorded_keeps_out_no_other(boards: Boards, tmp_path: Path, said: LogCapture) -> None:
    guard = duties(tmp_path)
    boards.breaks, boards.breaks_for = DeviceGone("unplugged"), ["asic:A"]
    guard.record(["asic:A", "asic:Z", "asic:B"], "stopped")
    assert boards.trips == [("asic:B", "stopped")]
    assert events(said).count(("trip_not_recorded", "warning")) == 2


def test_without_a_state_folder_it_is_said_and_no_more(
    boards: Boards, tmp_path: Path, said: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    MinerOff([], {}).record(["asic:A"], "stopped")
    assert boards.trips == [("asic:A", "stopped")]
    guard = duties(tmp_path)
    (tmp_path / "state").rmdir()
    guard.record(["asic:A"], "stopped")
    assert said.entries[-1]["event"] == "guard_notice_not_kept"


def test_a_configuration_that_is_just_being_written_is_read_again_when_it_is_needed(
    boards: Boards, tmp_path: Path, said: LogCapture
) -> None:
    config = tmp_path / "miner.toml"
    config.write_text("pools = [")
    guard = duties(tmp_path, f"--config={config}")
    config.write_text("")
    assert guard.turn_off("asic:A")


def test_a_configuration_that_is_broken_later_changes_nothing(boards: Boards, tmp_path: Path, said: LogCapture) -> None:
    config = tmp_path / "miner.toml"
    config.write_text("")
    guard = duties(tmp_path, f"--config={config}")
    config.write_text("pools = [")
    assert guard.turn_off("asic:A")
