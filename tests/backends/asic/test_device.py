"""A device over a board in memory: what its driver and its supervisor do to it, and to each other."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import backends.asic.device as device_module
from backends.asic.boards.board import Garbage, Sensor
from backends.asic.device import AsicDevice
from backends.asic.driver import Driver
from backends.asic.errors import BridgeStalled
from backends.asic.health import Silence
from backends.asic.latch import Latches
from backends.asic.safety import Safety
from backends.base import DeviceFault, DeviceGone, SettingRefused, Settings, State, Supervised, Verdict
from backends.testing import FakeFeed, Template
from tests.backends.asic.fake_board import LOOK_S, QUICK, SCALE, FakeBoard, device_of, in_state, until

EASY = Template(target=(1 << 252) - 1)
UNCONCERNED = Silence(due=1e9)


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event: str, **values: Any) -> None:
        self.events.append((event, values))

    def names(self) -> list[str]:
        return [name for name, _ in self.events]


@contextmanager
def mining(device: AsicDevice, feed: FakeFeed) -> Iterator[None]:
    device.start(feed)
    try:
        yield
    finally:
        feed.release()
        device.stop(20.0)


def test_each_valid_result_counts_for_what_the_ticket_takes_on_average() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board, silence=UNCONCERNED)
    with mining(device, feed):
        until(lambda: len(feed.hits) >= 50)
    good = sum(feed.verdicts[verdict] for verdict in (Verdict.GOOD, Verdict.BELOW))
    each = round(2**256 / (board.target + 1))
    assert feed.total == good * each
    assert not feed.verdicts[Verdict.WRONG]


def test_the_ticket_is_no_harder_than_the_work_and_easy_enough_to_hear_from_it_every_second() -> None:
    board = FakeBoard()
    device = device_of(board, silence=UNCONCERNED)
    with mining(device, FakeFeed(Template(target=1 << 200))):
        until(lambda: board.jobs)
        expected_hz = board.kind.hashes_per_hz * 525e6 * SCALE * (board.target + 1) / 2**256
        assert 1.0 <= expected_hz <= 4.0
    board = FakeBoard()
    with mining(device_of(board, silence=UNCONCERNED), FakeFeed(EASY)):
        until(lambda: board.jobs)
        assert board.target >= EASY.target


def test_a_lease_is_gone_through_piece_by_piece_and_then_there_is_another() -> None:
    board, feed = FakeBoard(pieces=3, ticks_s=0.001), FakeFeed(EASY)
    with mining(device_of(board), feed):
        until(lambda: len(feed.taken) >= 3)
    first = [job for job in board.jobs if job.id == feed.taken[0].id]
    assert len(first) == 3


def test_replaced_work_is_sent_at_once_though_the_running_job_is_long() -> None:
    board, feed = FakeBoard(ticks_s=1000.0), FakeFeed(EASY)
    with mining(device_of(board), feed):
        until(lambda: len(board.jobs) == 1)
        feed.serve(Template(target=EASY.target, prev_hash=bytes(32)), replace=True)
        until(lambda: board.jobs[-1].prev_hash == bytes(32), 2.0)


def test_boards_are_driven_from_one_core_and_supervised_from_anywhere() -> None:
    class Seen(FakeBoard):
        cores: dict[str, set[int]]

        def _enter(self, call: str, *, up: bool = False) -> None:
            self.cores[call] = os.sched_getaffinity(0)
            super()._enter(call, up=up)

    board = Seen()
    board.cores = {}
    with mining(device_of(board, silence=UNCONCERNED), FakeFeed(EASY)):
        until(lambda: board.cores.keys() >= {"send", "receive", "sensors"})
    here = os.sched_getaffinity(0)
    assert board.cores["send"] == board.cores["receive"] == {max(here)}
    assert board.cores["sensors"] == here


def test_where_threads_may_not_be_bound_a_board_mines_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(_thread: int, _cores: set[int]) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    board, log = FakeBoard(), Log()
    with mining(device_of(board, silence=UNCONCERNED, log=log), FakeFeed(EASY)):
        until(lambda: board.jobs)
    assert "driver_not_placed" in log.names()


def test_the_clock_is_ramped_to_where_it_shall_be_and_back_before_the_end() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(lambda: device.telemetry().frequency_hz == 525e6)
        assert device.apply(Settings(frequency_hz=5.3e8)) == Settings(frequency_hz=525e6), "the next one of its table"
        assert device.apply(Settings(frequency_hz=4e8)) == Settings(frequency_hz=4e8)
        until(lambda: device.telemetry().frequency_hz == 4e8)
    assert board.clocks[-1] == 50e6
    assert not board.powered
    assert board.closed == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(voltage_v=1.2), "no source says which voltages"),
        (Settings(frequency_hz=1e9), "400 to 625 MHz can be had"),
        (Settings(frequency_hz=float("nan")), "can be had"),
        (Settings(fan=0.5), "has no fan"),
        (Settings(frequency_hz=4e8, duty=0.5), "has no duty"),
    ],
)
def test_what_is_not_safe_or_not_there_is_refused_in_words(settings: Settings, sentence: str) -> None:
    with pytest.raises(SettingRefused, match=sentence):
        device_of(FakeBoard()).apply(settings)


def test_a_pause_takes_the_power_and_its_end_gives_it_back() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        device.apply(Settings(enabled=False))
        until(in_state(device, State.PAUSED))
        assert not board.powered
        device.apply(Settings(enabled=True))
        until(in_state(device, State.MINING))


def test_a_board_that_is_too_hot_is_off_though_its_driver_hangs_and_says_why() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: not board.powered, 2.0)
        assert "chip is at 90 degrees" in str(device.telemetry().fault)
        board.hang.pop("send").set()
        until(in_state(device, State.PAUSED))
        board.values[Sensor.CHIP_C] = 40.0
        until(in_state(device, State.MINING))


def test_a_hot_board_that_does_not_go_off_is_told_so_again_at_each_look_though_its_driver_hangs() -> None:
    board, feed, log = FakeBoard(), FakeFeed(EASY), Log()
    device = device_of(board, log=log)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        board.stays_on = [*[BridgeStalled("a bad moment")] * 10_000, RuntimeError("a defect")]
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: "it does not go off (a bad moment): chip is at 90" in str(device.telemetry().fault))
        until(lambda: len(board.stays_on) < 9_997)
        board.stays_on = []
        until(lambda: not board.powered, 5.0)
        until(lambda: "turned off for safety" in str(device.telemetry().fault))
        told = [values["reason"] for event, values in log.events if event == "asic_not_off"]
        assert told == ["a defect", "a bad moment"], "each reason once"
        board.hang.pop("send").set()


def test_a_board_that_was_being_started_in_the_moment_of_its_cut_off_is_turned_off_at_the_next_look() -> None:
    board, feed, log = FakeBoard(), FakeFeed(EASY), Log()
    board.hang["bring_up"] = started = threading.Event()
    device = device_of(board, patience=replace(QUICK, rest_s=60.0, hung_s=60.0), log=log)
    with mining(device, feed):
        until(lambda: board.held)
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: "asic_cut_off" in log.names())
        board.hang["set_frequency"] = board.hang["receive"] = goes_on = threading.Event()
        board.powered = True  # as by a start that began after that
        until(lambda: not board.powered, 5.0)
        started.set()
        goes_on.set()


def test_a_board_is_cut_before_anything_is_said_of_it() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    told = threading.Event()

    def held_up(event: str, **_: Any) -> None:
        if event == "asic_cut_off":
            assert told.wait(10.0)

    device = device_of(board, log=held_up)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: not board.powered, 5.0)
        told.set()
        board.hang.pop("send").set()


def test_a_supervisor_that_fails_takes_its_board_off_as_nobody_would_watch_it(monkeypatch: pytest.MonkeyPatch) -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)

    def defect(*_: object) -> None:
        if threading.current_thread().name.endswith("/safety"):
            raise RuntimeError("a defect")

    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        monkeypatch.setattr(Safety, "handle", defect)
        until(lambda: not board.powered, 5.0)
        assert "its supervisor failed: a defect" in str(device.telemetry().fault)
        board.hang.pop("send").set()
        until(lambda: board.closed)


def test_a_stop_says_so_when_the_board_may_still_be_on_and_the_next_stop_tries_again() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    device.start(feed)
    until(in_state(device, State.MINING))
    board.stays_on = [BridgeStalled("no answer")] * 99
    with pytest.raises(DeviceFault, match="may still be on: no answer"):
        device.stop(20.0)
    with pytest.raises(DeviceFault, match="may still be on: no answer"):
        device.stop(0.0)
    assert board.powered
    board.stays_on.clear()
    device.stop(0.0)
    assert not board.powered
    with mining(device, feed):
        until(in_state(device, State.MINING))


class Suspendable(FakeBoard):
    """Writes down what was asked of it, in order."""

    asked: list[str]

    def _enter(self, call: str, *, up: bool = False) -> None:
        self.asked.append(call)
        super()._enter(call, up=up)

    def off(self) -> None:
        self.asked.append("off")
        super().off()


def suspendable() -> Suspendable:
    board = Suspendable()
    board.asked = []
    return board


def test_after_a_suspend_a_board_is_off_until_its_sensors_were_read() -> None:
    board, feed, log, slept = suspendable(), FakeFeed(EASY), Log(), [100.0]
    device = device_of(board, log=log, suspended_s=lambda: slept[0])
    with mining(device, feed):
        until(in_state(device, State.MINING))
        mark = len(board.asked)
        slept[0] += 3600.0
        until(lambda: board.starts == 2)
        until(in_state(device, State.MINING))
        asked = board.asked[mark:]
        assert asked.index("off") < asked.index("bring_up")
        assert "sensors" in asked[asked.index("off") : asked.index("bring_up")]
        assert log.names().count("asic_slept") == 1
        assert dict(log.events)["asic_slept"]["slept_s"] == 3600.0
        assert "asic_cut_off" not in log.names(), "a suspend is no trip, and three of them latch no board"


def test_after_a_suspend_a_board_stays_off_for_as_long_as_its_sensors_cannot_be_asked() -> None:
    board, feed, slept = suspendable(), FakeFeed(EASY), [0.0]
    device = device_of(board, patience=replace(QUICK, hung_s=60.0), suspended_s=lambda: slept[0])
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["sensors"] = threading.Event()
        until(lambda: board.held)
        slept[0] += 2.0
        until(lambda: not board.powered)
        until(in_state(device, State.PAUSED))
        assert "suspended" in str(device.telemetry().fault)
        assert board.starts == 1
        board.hang.pop("sensors").set()
        until(lambda: board.starts == 2)


def test_a_board_that_is_hot_after_a_suspend_does_not_start() -> None:
    board, feed, log, slept = suspendable(), FakeFeed(EASY), Log(), [0.0]
    device = device_of(board, patience=replace(QUICK, rest_s=60.0), log=log, suspended_s=lambda: slept[0])
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["sensors"] = threading.Event()
        until(lambda: board.held)
        slept[0] += 60.0
        until(lambda: not board.powered)
        board.values[Sensor.CHIP_C] = 90.0
        board.hang.pop("sensors").set()
        until(lambda: "chip is at 90 degrees" in str(device.telemetry().fault))
        assert (board.starts, board.powered) == (1, False)


def test_a_supervisor_turns_a_board_off_after_a_suspend_though_its_driver_hangs() -> None:
    board, feed, slept = suspendable(), FakeFeed(EASY), [0.0]
    device = device_of(board, patience=replace(QUICK, hung_s=60.0), suspended_s=lambda: slept[0])
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        slept[0] += 60.0
        until(lambda: not board.powered)
        board.hang.pop("send").set()
        until(lambda: board.starts == 2)


def test_a_moment_between_two_clocks_is_no_suspend() -> None:
    board, feed, log, slept = suspendable(), FakeFeed(EASY), Log(), [0.0]
    device = device_of(board, log=log, suspended_s=lambda: slept[0])
    with mining(device, feed):
        until(in_state(device, State.MINING))
        slept[0] += 0.5
        mark = len(board.asked)
        until(lambda: board.asked[mark:].count("sensors") >= 3)
    assert board.starts == 1
    assert "asic_slept" not in log.names()


def test_a_driver_that_hangs_loses_its_board() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    log = Log()
    device = device_of(board, log=log)
    for call in ("send", "receive"):
        with mining(device, feed):
            until(in_state(device, State.MINING))
            board.hang[call] = threading.Event()
            until(lambda: not board.powered, 5.0)
            until(lambda: "asic_cut_off" in log.names())
            board.hang.pop(call).set()
        log.events.clear()


def test_sensors_that_hang_are_noticed_by_the_driver() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["sensors"] = threading.Event()
        until(lambda: not board.powered, 5.0)
        assert "sensors have said nothing" in str(device.telemetry().fault)
        board.hang.pop("sensors").set()


def test_sensors_that_raise_whatever_it_is_are_unreadable() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.values = {}
        until(lambda: not board.powered)
        assert "cannot read" in str(device.telemetry().fault)


def test_after_three_trips_it_is_latched_and_no_start_goes_past_that(tmp_path: Path) -> None:
    board, feed, latches = FakeBoard(), FakeFeed(EASY), Latches(tmp_path)
    board.values[Sensor.CHIP_C] = 50.0
    device = device_of(board, latches)
    with mining(device, feed):
        for _ in range(3):
            until(in_state(device, State.MINING))
            board.values[Sensor.CHIP_C] = 90.0
            until(lambda: not board.powered)
            board.values[Sensor.CHIP_C] = 40.0
        until(in_state(device, State.DEAD))
    assert not board.powered
    again = device_of(board, Latches(tmp_path))
    starts = board.starts
    with mining(again, feed):
        until(in_state(again, State.DEAD))
        assert "miner unlatch F1" in str(again.telemetry().fault)
    assert board.starts == starts
    assert Latches(tmp_path).unlatch("F1")
    third = device_of(board, Latches(tmp_path))
    with mining(third, feed):
        until(in_state(third, State.MINING))


def test_a_board_that_rests_says_why_over_a_restart(tmp_path: Path) -> None:
    board, feed, latches = FakeBoard(), FakeFeed(EASY), Latches(tmp_path)
    slow = replace(QUICK, rest_s=60.0, blind_rest_s=60.0)
    device = device_of(board, latches, slow)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: latches.rest("F1", 60.0))
    board.values[Sensor.CHIP_C] = 40.0
    again = device_of(board, Latches(tmp_path), slow)
    with mining(again, feed):
        until(in_state(again, State.PAUSED))
        assert "resting: chip is at 90 degrees" in str(again.telemetry().fault)


def test_a_board_that_returns_while_its_miner_runs_is_noted_as_rested(tmp_path: Path) -> None:
    board, feed, latches = FakeBoard(), FakeFeed(EASY), Latches(tmp_path)
    device = device_of(board, latches)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.values[Sensor.CHIP_C] = 90.0
        until(lambda: latches.rest("F1", 0.0))
        board.values[Sensor.CHIP_C] = 40.0
        until(in_state(device, State.MINING))
        until(lambda: latches.rest("F1", 0.0) is None)


def test_a_board_that_rested_while_nothing_drove_it_is_noted_as_rested_at_its_start(tmp_path: Path) -> None:
    Latches(tmp_path, wall=lambda: time.time() - 1000.0).trip("F1", "chip is at 90 degrees")
    assert Latches(tmp_path).rest("F1", 60.0)
    device = device_of(FakeBoard(), Latches(tmp_path))
    with mining(device, FakeFeed(EASY)):
        until(in_state(device, State.MINING))
    assert Latches(tmp_path).rest("F1", 60.0) is None


def test_a_cut_off_board_rests_under_its_next_device_too_and_the_third_cut_off_latches_it(tmp_path: Path) -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    resting = replace(QUICK, rest_s=3600.0)
    for cut_off in (1, 2, 3):
        device = device_of(board, Latches(tmp_path))
        with mining(device, feed):
            until(in_state(device, State.MINING))
            board.values[Sensor.CHIP_C] = 90.0
            until(lambda count=cut_off: len(Latches(tmp_path).ages_s("F1")) == count)
        board.values[Sensor.CHIP_C] = 40.0
        starts = board.starts
        again = device_of(board, Latches(tmp_path), resting)
        with mining(again, feed):
            until(in_state(again, State.PAUSED if cut_off < 3 else State.DEAD))
        assert board.starts == starts
    assert "3 times" in str(Latches(tmp_path).record("F1").latched)


def unwatched_s(device: AsicDevice) -> float:
    return device.unwatched_s() or 0.0


def test_a_supervisor_reports_from_before_its_board_has_power_until_it_is_off() -> None:
    board, feed, compiled, first = FakeBoard(), FakeFeed(EASY), threading.Event(), threading.Event()
    board.hang["bring_up"] = first
    device = device_of(board, prepare=compiled.wait)
    assert isinstance(device, Supervised)
    assert device.unwatched_s() is None
    with mining(device, feed):
        assert device.unwatched_s() is None, "while something is compiled there is no power to watch"
        compiled.set()
        until(lambda: board.held)
        assert device.unwatched_s() is not None, "it may have power from now on"
        first.set()
        until(in_state(device, State.MINING))
        until(lambda: 0.0 <= unwatched_s(device) < 5 * LOOK_S)
    assert device.unwatched_s() is None


def test_a_supervisor_that_hangs_in_its_look_reports_no_more() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["sensors"] = threading.Event()
        until(lambda: unwatched_s(device) > 10 * LOOK_S)
        board.hang.pop("sensors").set()
        until(lambda: unwatched_s(device) < 5 * LOOK_S)


def test_a_supervisor_that_failed_reports_no_more_while_its_driver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        monkeypatch.setattr(device._run, "_decide", lambda *_: 1 / 0)
        until(lambda: unwatched_s(device) > 10 * LOOK_S)
        board.hang.pop("send").set()


def test_a_board_that_a_fault_of_its_driver_turned_off_needs_no_more_reports() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.breaks = RuntimeError("a defect")
        until(lambda: board.closed)
        assert not board.powered
        assert device.unwatched_s() is None


def test_nobody_reports_for_a_board_that_a_stop_could_not_turn_off_until_it_is_off() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    device.start(feed)
    until(in_state(device, State.MINING))
    board.stays_on = [BridgeStalled("no answer")] * 99
    with pytest.raises(DeviceFault):
        device.stop(20.0)
    until(lambda: unwatched_s(device) > 10 * LOOK_S)
    board.stays_on.clear()
    device.stop(20.0)
    assert device.unwatched_s() is None
    with mining(device, feed):
        until(in_state(device, State.MINING))
        until(lambda: unwatched_s(device) < 5 * LOOK_S)
    assert device.unwatched_s() is None


def test_nothing_is_powered_before_the_first_look_at_the_sensors_when_it_is_hot() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    board.values[Sensor.CHIP_C] = 95.0
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.PAUSED))
        assert not board.jobs
        assert not board.powered


def test_silent_chips_are_started_anew_and_given_up_after_three_times_in_vain() -> None:
    board, feed = FakeBoard(pause_s=None), FakeFeed(EASY)
    device = device_of(board, silence=Silence(due=1.0, least_s=0.02))
    with mining(device, feed):
        until(in_state(device, State.DEAD))
        assert board.starts == 4
        assert "find nothing, also after 3 starts anew" in str(device.telemetry().fault)
    assert not board.powered


def test_a_liar_is_counted_and_slowed_down() -> None:
    board, feed, log = FakeBoard(lie=True, pause_s=0.0005), FakeFeed(EASY), Log()
    device = device_of(board, silence=UNCONCERNED, log=log)
    with mining(device, feed):
        until(lambda: "asic_errs" in log.names())
        until(lambda: device.telemetry().frequency_hz == 490e6 or (device.telemetry().frequency_hz or 0) < 490e6)
        assert "were wrong" in str(device.telemetry().fault)
    assert feed.verdicts[Verdict.WRONG] >= 20
    assert feed.total == 0


def test_garbage_is_counted_and_never_followed() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    board.garbage = [Garbage("crc"), Garbage("noise", 7)]
    device = device_of(board)
    with mining(device, feed):
        until(lambda: len(feed.hits) > 3)
    assert not board.garbage
    assert not feed.verdicts[Verdict.WRONG]


@pytest.mark.parametrize("call", [DeviceGone("unplugged"), DeviceFault("nonsense"), RuntimeError("a defect")])
def test_what_goes_wrong_ends_as_a_dead_device_that_is_off_and_closed(call: Exception) -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board, Latches(None))
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.breaks = call
        until(in_state(device, State.DEAD))
        assert str(call) in str(device.telemetry().fault)
        until(lambda: board.closed)
        assert not board.powered
    board.breaks = None
    with mining(device, feed):
        until(in_state(device, State.MINING))
        assert device.telemetry().fault is None


def test_an_unplugged_board_is_not_blamed_for_its_sensors(tmp_path: Path) -> None:
    board, feed, latches = FakeBoard(), FakeFeed(EASY), Latches(tmp_path)
    device = device_of(board, latches)
    for _ in range(4):
        with mining(device, feed):
            until(in_state(device, State.MINING))
            board.breaks = DeviceGone("unplugged")
            until(in_state(device, State.DEAD))
        board.breaks = None
    assert latches.ages_s("F1") == []


def test_a_stop_that_a_hung_driver_delays_turns_the_board_off_all_the_same() -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    with mining(device, feed):
        until(in_state(device, State.MINING))
        board.hang["send"] = threading.Event()
        until(lambda: board.held)
        with pytest.raises(DeviceFault, match="was turned off, and still runs"):
            device.stop(0.1)
        assert not board.powered
        board.hang.pop("send").set()


def test_a_stop_while_something_is_compiled_waits_for_nothing_and_the_board_is_never_touched() -> None:
    board, feed, compiled = FakeBoard(), FakeFeed(EASY), threading.Event()
    device = device_of(board, prepare=compiled.wait)
    device.start(feed)
    until(in_state(device, State.STARTING))
    device.stop(0.0)
    assert device.telemetry().state is State.OFF
    compiled.set()
    until(lambda: not any(thread.name == device.info.id for thread in threading.enumerate()))
    assert (board.starts, board.closed) == (0, 0)
    with mining(device, feed):
        until(in_state(device, State.MINING))


def test_a_stop_while_the_driver_is_made_is_heeded_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    making, made = threading.Event(), threading.Event()

    class Slow(Driver):
        def __init__(self, *arguments: Any) -> None:
            making.set()
            assert made.wait(10.0)
            super().__init__(*arguments)

    monkeypatch.setattr(device_module, "Driver", Slow)
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    device.start(feed)
    assert making.wait(10.0)
    with pytest.raises(DeviceFault, match="still runs"):  # the board is claimed, and none to drive it yet
        device.stop(0.0)
    made.set()
    device.stop(10.0)
    assert (board.starts, board.closed) == (0, 1)


def test_a_stop_in_the_moment_in_which_a_driver_was_made_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the driver sees the stop come between its look at it and what it tells the driver."""
    stopper, due, told = threading.current_thread(), threading.Event(), threading.Event()

    class Met(Driver):
        def __setattr__(self, name: str, value: object) -> None:
            is_stopper = threading.current_thread() is stopper
            if name == "stopping" and hasattr(self, name) and not is_stopper:
                due.set()
                assert told.wait(10.0)
            super().__setattr__(name, value)
            if name == "stopping" and is_stopper:
                told.set()

        def run(self) -> None:
            due.set()
            super().run()

    monkeypatch.setattr(device_module, "Driver", Met)
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board)
    device.start(feed)
    try:
        assert due.wait(10.0)
        device.stop(10.0)
    finally:
        device.stop(10.0)
    assert not board.powered
    assert board.closed == 1


@pytest.mark.parametrize("virtual", [False, True])
def test_telemetry_is_what_the_sensors_said_and_watts_only_where_they_are_real(*, virtual: bool) -> None:
    board, feed = FakeBoard(), FakeFeed(EASY)
    device = device_of(board, virtual=virtual)
    with mining(device, feed):
        until(lambda: device.telemetry().temperatures_c and device.telemetry().state is State.MINING)
        told = device.telemetry()
        degrees = {reading.sensor: reading.value for reading in told.temperatures_c}
        assert degrees == {"chip": 50.0, "regulator": 60.0, "board": 35.0}
        assert (told.voltage_v, told.fans_rpm[0].value, told.fan) == (1.15, 4000.0, 1.0)
        assert told.power_limit_w is None
        assert (told.power_w, told.power_source) == ((None, None) if virtual else (18.0, "usb"))
        until(lambda: device.telemetry().frequency_hz == 525e6)
        assert device.telemetry().expected_hps == board.kind.hashes_per_hz * 525e6 * SCALE


def test_a_job_that_was_sent_at_a_slow_clock_ends_sooner_when_the_clock_rises() -> None:
    board, feed = FakeBoard(ticks_s=2.0), FakeFeed(EASY)  # at 50 MHz, so a fifth of a second at 525
    with mining(device_of(board), feed):
        until(lambda: len(board.jobs) >= 2, 1.5)
