"""What a miner's guard decides: whatever comes in which order, and however long the guard itself did not run."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.rig.guard_watch import (
    DEVICES_MAX,
    END_S,
    PAUSES_S,
    RECORD_S,
    SILENCE_S,
    STEP_S,
    Answer,
    Effect,
    Ended,
    Event,
    GiveUp,
    Heard,
    Kill,
    Leave,
    Phase,
    Record,
    Recorded,
    Tick,
    Tried,
    TurnOff,
    Watch,
)

A, B = Heard(b"+asic:A"), Heard(b"+asic:B")
A_OFF, B_OFF = Heard(b"-asic:A"), Heard(b"-asic:B")
BEAT, A_LATE = Heard(b"."), Heard(b"?asic:A")


def after(watch: Watch, seconds: float, *events: Event, step_s: float = 0.5) -> list[Effect]:
    """What comes of so many seconds of a guard that looks each `step_s`, and of these events at their end."""
    effects: list[Effect] = []
    end = watch.now + seconds
    while watch.now < end:
        effects += watch.handle(Tick(), min(watch.now + step_s, end))
    for event in events:
        effects += watch.handle(event, watch.now)
    return effects


def told(*events: Event) -> Watch:
    watch = Watch(0.0)
    after(watch, 0.0, *events)
    return watch


def test_ten_seconds_of_silence_are_recorded_then_the_miner_is_killed_and_what_was_on_turned_off() -> None:
    watch = told(A, B, BEAT)
    assert after(watch, SILENCE_S - 0.5) == []
    [record] = after(watch, 0.5)
    assert isinstance(record, Record) and record.devices == ("asic:A", "asic:B")
    assert "no sign of life for 10 s" in record.reason
    assert after(watch, 0.1, Recorded()) == [Kill()]
    assert after(watch, 1.0) == [], "its end is waited for: until then it holds its devices"
    assert after(watch, 0.0, Ended()) == [TurnOff("asic:A"), TurnOff("asic:B")]
    assert after(watch, 1.0, Tried("asic:B", is_off=True)) == []
    assert after(watch, 0.0, Tried("asic:A", is_off=True)) == [Leave()]


def test_a_miner_that_beats_is_left_alone_for_ever() -> None:
    watch = told(A)
    for _ in range(1000):
        assert after(watch, SILENCE_S - 0.5, BEAT) == [Answer()]


def test_silence_while_nothing_is_on_is_no_matter_and_begins_to_count_with_the_first_device() -> None:
    watch = told(A, A_OFF)
    assert after(watch, 100.0, B) == []
    assert after(watch, SILENCE_S - 0.5) == []
    assert isinstance(after(watch, 0.5)[0], Record)


def test_a_disk_that_hangs_delays_the_kill_by_a_second_at_most() -> None:
    watch = told(A)
    assert len(after(watch, SILENCE_S)) == 1
    assert after(watch, RECORD_S) == [Kill()]
    assert after(watch, 0.0, Recorded()) == []


def test_a_miner_that_does_not_end_delays_turning_off_by_five_seconds_at_most() -> None:
    watch = told(A)
    after(watch, SILENCE_S, Recorded())
    assert after(watch, END_S) == [TurnOff("asic:A")]
    assert after(watch, 0.0, Ended()) == []


def test_a_beat_that_comes_after_the_decision_changes_nothing() -> None:
    watch = told(A)
    after(watch, SILENCE_S, BEAT)
    assert after(watch, RECORD_S) == [Kill()]


def test_a_miner_that_has_ended_has_what_was_on_turned_off_and_no_trip_is_recorded() -> None:
    assert after(told(A, B, A_OFF), 0.0, Ended()) == [TurnOff("asic:B")]
    assert after(told(A, A_OFF), 0.0, Ended()) == [Leave()]


def test_only_the_devices_whose_supervisors_are_silent_are_recorded_while_the_miner_still_speaks() -> None:
    watch = told(A, B, BEAT)
    effects: list[Effect] = []
    for _ in range(int(SILENCE_S)):
        effects += after(watch, 1.0, A_LATE)
    [record] = [effect for effect in effects if isinstance(effect, Record)]
    assert record.devices == ("asic:A",) and "supervisor" in record.reason
    after(watch, 0.0, Recorded())
    assert after(watch, 0.0, Ended()) == [TurnOff("asic:A"), TurnOff("asic:B")]


def test_a_miner_that_is_stopped_after_it_named_one_supervisor_has_all_its_devices_recorded() -> None:
    watch = told(A, B, BEAT, A_LATE)
    [record] = after(watch, SILENCE_S)
    assert isinstance(record, Record) and record.devices == ("asic:A", "asic:B")


def test_a_beat_takes_back_what_was_said_of_a_supervisor() -> None:
    watch = told(A, B, A_LATE, BEAT)
    after(watch, SILENCE_S - 0.5, Heard(b"?asic:B"))
    [record] = after(watch, 0.5)
    assert isinstance(record, Record) and record.devices == ("asic:B",)


def test_time_in_which_the_guard_itself_did_not_run_is_no_silence() -> None:
    watch = told(A, BEAT)
    after(watch, 3.0)
    assert watch.handle(Tick(), watch.now + 3600.0) == [], "a frozen machine that thaws: the miner may beat at once"
    assert after(watch, 1.0, BEAT) == [Answer()]
    assert watch.handle(Tick(), watch.now + 3600.0) == []
    assert isinstance(after(watch, SILENCE_S - STEP_S)[0], Record), "or else it is killed"


def test_a_device_that_does_not_go_off_is_told_again_after_growing_pauses_and_then_named() -> None:
    watch = told(A, B)
    assert after(watch, 0.0, Ended(), Tried("asic:B", is_off=True)) == [TurnOff("asic:A"), TurnOff("asic:B")]
    for pause_s in PAUSES_S:
        assert after(watch, 0.0, Tried("asic:A", is_off=False)) == []
        assert after(watch, pause_s - 0.1) == []
        assert after(watch, 0.1) == [TurnOff("asic:A")]
    assert after(watch, 0.0, Tried("asic:A", is_off=False)) == [GiveUp("asic:A"), Leave()]


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"+", b"x" * 5000, b"?asic:nobody", b"-asic:B", b"..", b" ."])
def test_garbage_neither_ends_nor_feeds_anything(garbage: bytes) -> None:
    watch = told(A, BEAT)
    after(watch, SILENCE_S - 0.5, Heard(garbage))
    assert isinstance(after(watch, 0.5)[0], Record)


def test_the_devices_are_bounded() -> None:
    assert len(told(*(Heard(b"+%d" % number) for number in range(2 * DEVICES_MAX))).on) == DEVICES_MAX


EVENTS = st.one_of(
    st.sampled_from([A, B, A_OFF, B_OFF, BEAT, A_LATE, Ended(), Recorded()]),
    st.just(Tick()),
    st.builds(Heard, st.binary(max_size=8)),
    st.builds(Tried, st.sampled_from(["asic:A", "asic:B", "asic:C"]), st.booleans()),
)
GAPS = st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 1e6))


@dataclass
class Judge:
    """What must hold after any event."""

    watch: Watch
    decided: int = 0
    killed: int = 0
    attempting: set[str] = field(default_factory=set)
    off: set[str] = field(default_factory=set)
    left: bool = False
    unbeaten_s: float = 0.0

    def see(self, event: Event, gap_s: float) -> None:
        on_before = set(self.watch.on)
        if isinstance(event, Tried):
            self.attempting.discard(event.device)
        self.unbeaten_s += gap_s
        effects = self.watch.handle(event, self.watch.now + gap_s)
        for effect in effects:
            assert not self.left
            match effect:
                case Record(devices, _):
                    self.decided += 1
                    assert on_before and set(devices) <= on_before and devices
                    assert self.unbeaten_s >= SILENCE_S
                case Kill():
                    self.killed += 1
                    assert self.decided == 1, "why is recorded first"
                case TurnOff(device):
                    assert device in on_before and device not in self.attempting | self.off
                    self.attempting.add(device)
                case GiveUp(device):
                    assert device not in self.attempting
                case Leave():
                    assert not self.attempting
                    self.left = True
        if isinstance(event, Tried) and event.is_off:
            self.off.add(event.device)
        if isinstance(event, Heard) and event.message == b".":
            self.unbeaten_s = 0.0
        assert self.decided <= 1 and self.killed <= 1


@given(st.lists(st.tuples(EVENTS, GAPS), max_size=60))
def test_in_any_order_a_guard_kills_once_at_most_and_only_after_silence_with_a_device_on(
    story: list[tuple[Event, float]],
) -> None:
    judge = Judge(Watch(0.0))
    for event, gap_s in story:
        if judge.left:
            return
        if isinstance(event, Tried) and event.device not in judge.attempting:
            continue  # no attempt, no outcome
        judge.see(event, gap_s)


@given(st.lists(st.tuples(EVENTS, GAPS), max_size=30))
def test_whatever_came_before_a_miner_that_falls_silent_while_a_device_is_on_loses_it(
    story: list[tuple[Event, float]],
) -> None:
    watch = Watch(0.0)
    for event, gap_s in story:
        if not isinstance(event, Ended | Tried | Recorded):
            watch.handle(event, watch.now + gap_s)
    if watch.phase is Phase.TURNING_OFF:
        return  # the story has killed this miner already
    effects = watch.handle(A, watch.now)
    effects += after(watch, SILENCE_S + RECORD_S + END_S + 1.0)
    assert TurnOff("asic:A") in effects


@given(st.lists(st.floats(0.0, SILENCE_S - 0.6), max_size=40))
def test_no_pace_of_beats_under_ten_seconds_gets_a_miner_killed(gaps: list[float]) -> None:
    watch = told(A, BEAT)
    for gap_s in gaps:
        assert after(watch, gap_s, BEAT) == [Answer()]
