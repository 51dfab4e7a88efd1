from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.duty import PERIOD_S, SLICE_S, DutyCycle


def test_at_full_duty_no_rest_is_owed() -> None:
    cycle = DutyCycle(1.0)
    cycle.hashed(10.0)
    assert cycle.due_s == 0
    assert cycle.slice_s == SLICE_S


@given(st.floats(0.02, 1), st.lists(st.floats(0.5, 2), min_size=200, max_size=200))
def test_the_share_comes_out_right_however_badly_rests_are_kept(duty: float, slips: list[float]) -> None:
    cycle, hashed, rested = DutyCycle(duty), 0.0, 0.0
    for slip in slips:
        hashed += cycle.slice_s
        cycle.hashed(cycle.slice_s)
        while cycle.due_s:
            rest = cycle.due_s * slip
            rested += rest
            cycle.rested(rest)
    assert hashed / (hashed + rested) == pytest.approx(duty, rel=0.02)


def test_a_rest_that_is_too_short_to_take_is_taken_later() -> None:
    cycle = DutyCycle(0.99)
    cycle.hashed(SLICE_S)
    assert cycle.due_s == 0
    for _ in range(3):
        cycle.hashed(SLICE_S)
    assert cycle.due_s == pytest.approx(4 * SLICE_S / 99)


@pytest.mark.parametrize("duty", [0.05, 0.1, 0.25, 0.5, 0.9])
def test_work_and_rest_alternate_quickly(duty: float) -> None:
    cycle = DutyCycle(duty)
    cycle.hashed(cycle.slice_s)
    assert cycle.slice_s + cycle.due_s <= PERIOD_S * 1.001


def test_a_long_idle_time_is_not_saved_up_to_hash_without_rest() -> None:
    cycle = DutyCycle(0.5)
    cycle.rested(3600.0)
    cycle.hashed(1.0)
    assert cycle.due_s >= 1.0 - PERIOD_S
