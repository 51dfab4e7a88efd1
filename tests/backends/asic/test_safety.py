from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.boards.board import Limits, Readings, Sensor
from backends.asic.safety import CutOff, Faster, Latch, Look, Release, Safety, SafetyEffect, Slower, Standing, Tick

CLOCKS = (100e6, 200e6, 300e6, 400e6)
LIMITS = Limits(CLOCKS, 300e6, throttle_c=75.0, cutoff_c=80.0, resume_c=None, regulator_throttle_c=105.0)
SENSORS = frozenset({Sensor.CHIP_C, Sensor.FAN_RPM})
BROKEN = Readings({Sensor.FAN_RPM: 1000.0}, "the diode is open")


def board(
    now: float = 0.0, limits: Limits = LIMITS, tripped_at: tuple[float, ...] = (), latched: str | None = None
) -> Safety:
    return Safety(limits, SENSORS, now, tripped_at=tripped_at, latched=latched)


def seen(chip_c: float | None = 50.0, *, on: bool = True, clock_hz: float = 300e6, **more: float) -> Look:
    values = {Sensor.FAN_RPM: 1000.0} | {Sensor[name]: value for name, value in more.items()}
    if chip_c is not None:
        values[Sensor.CHIP_C] = chip_c
    return Look(Readings(values), on, clock_hz)


def ages(driver_age_s: float = 0.1) -> Tick:
    return Tick(on=True, settled=True, driver_age_s=driver_age_s)


def kinds(effects: list[SafetyEffect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_a_cool_board_is_left_alone() -> None:
    safety = board()
    assert [effect for now in range(3600) for effect in safety.handle(seen(70.0), float(now))] == []
    assert safety.ceiling_hz == CLOCKS[-1]


def test_at_the_cut_off_it_is_off_with_the_first_reading() -> None:
    safety = board()
    [effect] = safety.handle(seen(80.0), 1.0)
    assert isinstance(effect, CutOff)
    assert "chip is at 80 degrees" in effect.reason
    assert safety.standing is Standing.TRIPPED


def test_warm_is_slower_step_by_step_from_the_clock_it_runs_at_and_calm_is_faster_again() -> None:
    safety = board()
    [slower] = safety.handle(seen(76.0, clock_hz=300e6), 10.0)
    assert isinstance(slower, Slower)
    assert safety.ceiling_hz == 200e6, "a ceiling above its clock would change nothing"
    assert safety.handle(seen(76.0, clock_hz=200e6), 12.0) == []
    assert kinds(safety.handle(seen(76.0, clock_hz=200e6), 15.0)) == [Slower]
    assert safety.handle(seen(76.0, clock_hz=100e6), 30.0) == [], "there is nothing slower"
    assert safety.handle(seen(72.0), 40.0) == []
    assert safety.handle(seen(69.0), 69.9) == [], "calm begins below the limit by some degrees"
    assert kinds(safety.handle(seen(69.0), 70.0)) == [Faster]
    assert kinds(safety.handle(seen(69.0), 100.0)) == [Faster]
    assert kinds(safety.handle(seen(69.0), 130.0)) == [Faster]
    assert safety.ceiling_hz == CLOCKS[-1]
    assert safety.reason is None


def test_a_regulator_has_a_limit_of_its_own() -> None:
    assert kinds(board().handle(seen(50.0, REGULATOR_C=106.0), 10.0)) == [Slower]


def test_a_regulator_that_its_lowest_clock_does_not_cool_is_off() -> None:
    safety = board()
    hot = {"clock_hz": 100e6, "REGULATOR_C": 106.0}
    assert kinds(safety.handle(seen(50.0, **hot), 10.0)) == [Slower]
    assert safety.ceiling_hz == CLOCKS[0]
    assert safety.handle(seen(50.0, **hot), 39.9) == []
    [effect] = safety.handle(seen(50.0, **hot), 40.0)
    assert isinstance(effect, CutOff)
    assert effect.reason == "regulator is at 106 degrees, the limit is 105, after 30 s at its lowest clock"


@pytest.mark.parametrize(
    "look",
    [
        Look(BROKEN, settled=True),
        Look(Readings({}, None), settled=True),
        Look(Readings({Sensor.CHIP_C: 50.0, Sensor.FAN_RPM: 1.0}, "the regulator is mute"), settled=True),
        seen(-41.0),
        seen(math.nan),
    ],
    ids=["missing", "nothing", "a problem besides", "impossible", "no number"],
)
def test_a_sensor_that_cannot_be_read_is_unsafe(look: Look) -> None:
    safety = board()
    effects = [effect for now in (1.0, 2.0, 3.0) for effect in safety.handle(look, now)]
    assert isinstance(effects[-1], CutOff)


def test_one_bad_reading_slows_it_down_and_a_good_one_ends_that() -> None:
    safety = board()
    assert kinds(safety.handle(Look(BROKEN, settled=True), 1.0)) == [Slower]
    assert safety.ceiling_hz == CLOCKS[0]
    for now in (2.0, 3.0, 4.0, 5.0, 6.0):
        event = seen() if now % 2 else Look(BROKEN, settled=True)
        assert CutOff not in kinds(safety.handle(event, now))
    assert kinds(safety.handle(seen(), 36.0)) == [Faster]


def test_during_its_start_sensors_may_be_missing_but_heat_may_not_be_there() -> None:
    safety = board()
    assert [safety.handle(Look(BROKEN, settled=False), float(now)) for now in range(5)] == [[]] * 5
    hot = Look(Readings({Sensor.CHIP_C: 90.0}), settled=False)
    assert kinds(safety.handle(hot, 6.0)) == [CutOff]


def test_sensors_that_say_nothing_are_stale_though_nobody_reports_an_error() -> None:
    safety = board()
    safety.handle(seen(), 10.0)
    assert safety.handle(ages(), 15.0) == []
    assert kinds(safety.handle(ages(), 15.1)) == [CutOff]


def test_a_driver_that_hangs_loses_its_board() -> None:
    safety = board()
    safety.handle(seen(), 10.0)
    assert safety.handle(ages(10.0), 11.0) == []
    [effect] = safety.handle(ages(10.1), 11.1)
    assert isinstance(effect, CutOff)
    assert "driver has hung" in effect.reason
    assert board().handle(Tick(on=False, settled=False, driver_age_s=99.0), 1.0) == [], (
        "a board that is off cannot hang"
    )


def test_it_returns_when_it_has_rested_and_is_cool_at_its_lowest_clock() -> None:
    safety = board()
    safety.handle(seen(85.0), 0.0)
    assert safety.handle(seen(40.0, on=False), 59.9) == []
    assert safety.handle(seen(66.0, on=False), 61.0) == [], "10 degrees below the throttle limit is cool"
    assert safety.handle(seen(65.0, on=False), 62.0) == [Release()]
    assert (safety.standing, safety.ceiling_hz) == (Standing.ALLOWED, CLOCKS[0])
    assert safety.handle(seen(60.0), 91.9) == []
    assert kinds(safety.handle(seen(60.0), 92.0)) == [Faster]


def test_a_board_that_cannot_be_seen_cooling_rests_longer() -> None:
    safety = board()
    safety.handle(seen(85.0), 0.0)
    assert safety.handle(seen(None, on=False, BOARD_C=30.0), 299.0) == []
    assert safety.handle(seen(None, on=False, BOARD_C=70.0), 301.0) == [], "what can be read is still hot"
    assert safety.handle(seen(None, on=False, BOARD_C=30.0), 302.0) == [Release()]


@pytest.mark.parametrize(
    ("limits", "cool_c"),
    [
        (replace(LIMITS, throttle_c=None, cutoff_c=110.0, resume_c=30.0), 30.0),
        (replace(LIMITS, throttle_c=None), 60.0),
    ],
)
def test_what_is_cool_is_the_boards_own_or_well_below_its_limit(limits: Limits, cool_c: float) -> None:
    safety = board(limits=limits)
    safety.handle(seen(120.0), 0.0)
    assert safety.handle(seen(cool_c + 1, on=False), 70.0) == []
    assert safety.handle(seen(cool_c, on=False), 71.0) == [Release()]


def test_the_third_time_within_an_hour_it_is_latched_and_time_does_not_mend_that() -> None:
    safety = board()
    for at in (0.0, 1000.0):
        assert kinds(safety.handle(seen(85.0), at)) == [CutOff]
        assert safety.handle(seen(30.0, on=False), at + 60.0) == [Release()]
    cut, latch = safety.handle(seen(85.0), 3599.0)
    assert isinstance(cut, CutOff) and isinstance(latch, Latch)
    assert "3 times within 60 minutes" in latch.reason
    assert safety.handle(seen(20.0, on=False), 1e6) == []
    assert safety.standing is Standing.LATCHED


def test_what_was_long_ago_does_not_latch() -> None:
    safety = board()
    for at in (0.0, 1900.0, 3800.0, 5700.0):
        assert kinds(safety.handle(seen(85.0), at)) == [CutOff]
        assert safety.handle(seen(30.0, on=False), at + 60.0) == [Release()]


def test_a_restart_shortens_neither_the_rest_nor_the_record() -> None:
    again = board(now=30.0, tripped_at=(-100.0, 0.0))
    assert again.standing is Standing.TRIPPED
    assert again.handle(seen(30.0, on=False), 59.0) == []
    assert again.handle(seen(30.0, on=False), 60.0) == [Release()]
    assert kinds(again.handle(seen(85.0), 70.0)) == [CutOff, Latch]
    assert board(latched="twice").standing is Standing.LATCHED


def test_a_board_that_is_blind_while_it_is_off_rests_as_long_over_a_restart() -> None:
    again = board(now=100.0, tripped_at=(0.0,))
    blind = Look(Readings({}), settled=False)
    assert again.handle(blind, 100.0) == again.handle(blind, 299.0) == []
    assert again.handle(blind, 300.0) == [Release()]
    assert board(now=300.0, tripped_at=(0.0,)).standing is Standing.ALLOWED


def test_without_sensors_only_the_driver_is_watched() -> None:
    safety = Safety(replace(LIMITS, throttle_c=None, cutoff_c=None), frozenset(), 0.0)
    nothing = Look(Readings({}), settled=True)
    assert [safety.handle(nothing, float(now)) for now in (1, 100, 1000)] == [[]] * 3
    assert safety.handle(ages(), 2000.0) == []
    assert kinds(safety.handle(ages(11.0), 2001.0)) == [CutOff]
    assert safety.handle(nothing, 2061.0) == [Release()]


LOOKS = st.builds(seen, st.none() | st.floats(-60, 200), on=st.booleans(), clock_hz=st.sampled_from(CLOCKS))


@given(st.lists(st.tuples(LOOKS | st.builds(ages, st.floats(0, 20)), st.floats(0.1, 400)), max_size=60))
def test_whatever_happens_heat_is_never_allowed_and_each_trip_is_said_once(
    events: list[tuple[Look | Tick, float]],
) -> None:
    safety, now = board(), 0.0
    for event, later in events:
        now += later
        before = safety.standing
        effects = safety.handle(event, now)
        if isinstance(event, Look) and event.readings.values.get(Sensor.CHIP_C, 0.0) >= 80.0:
            assert safety.standing is not Standing.ALLOWED
        assert (CutOff in kinds(effects)) == (before is Standing.ALLOWED and safety.standing is not Standing.ALLOWED)
        assert safety.ceiling_hz in CLOCKS
