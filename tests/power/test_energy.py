from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.power.energy import Energy


def test_nothing_is_known_before_two_readings() -> None:
    energy = Energy()
    assert energy.joules is None
    energy.power(0.0, 100.0)
    assert energy.joules is None and energy.watts == 100.0
    energy.power(2.0, 200.0)
    assert energy.joules == 300.0


def test_a_gap_is_neither_counted_nor_filled() -> None:
    energy = Energy(longest_gap_s=10)
    for at in (0.0, 10.0, 100.0, 110.0):
        energy.power(at, 50.0)
    assert energy.joules == 1000.0
    assert energy.gap_s == 90.0


def test_a_failed_reading_cuts_the_line_even_if_the_next_comes_soon() -> None:
    energy = Energy(longest_gap_s=10)
    energy.power(0.0, 50.0)
    energy.lost(1.0)
    assert energy.watts is None
    energy.power(2.0, 50.0)
    energy.power(3.0, 50.0)
    assert energy.joules == 50.0
    assert energy.gap_s == 2.0


@pytest.mark.parametrize("watts", [-1.0, math.nan, math.inf, 1e9])
def test_watts_that_no_meter_means_are_a_gap(watts: float) -> None:
    energy = Energy()
    energy.power(0.0, 10.0)
    energy.power(1.0, watts)
    energy.power(2.0, 10.0)
    assert energy.joules is None
    assert energy.gap_s == 2.0


def test_a_counter_that_went_round_lost_nothing() -> None:
    energy = Energy(most_w=1000)
    energy.counter(0.0, 90.0, range_j=100.0)
    energy.counter(0.05, 20.0, range_j=100.0)
    assert energy.joules == pytest.approx(30.0)
    assert energy.watts == pytest.approx(600.0)


def test_a_counter_that_may_have_gone_round_unseen_is_a_gap() -> None:
    energy = Energy(most_w=1000)
    energy.counter(0.0, 10.0, range_j=100.0)
    energy.counter(5.0, 20.0, range_j=100.0)
    assert energy.joules is None and energy.watts is None
    assert energy.gap_s == 5.0
    energy.counter(5.01, 25.0, range_j=100.0)
    assert energy.joules == 5.0


def test_what_a_meter_counted_while_it_was_not_read_still_counts() -> None:
    energy = Energy()
    energy.counter(0.0, 1000.0)
    energy.lost(1.0)
    energy.counter(3600.0, 361000.0)
    assert energy.joules == 360000.0
    assert energy.gap_s == 0.0


def test_a_meter_that_was_reset_starts_anew() -> None:
    energy = Energy()
    for at, joules in ((0.0, 1000.0), (1.0, 1100.0), (2.0, 3.0), (3.0, 103.0)):
        energy.counter(at, joules)
    assert energy.joules == 200.0
    assert energy.gap_s == 1.0


def test_a_reading_from_the_past_changes_nothing() -> None:
    energy = Energy()
    energy.power(10.0, 100.0)
    energy.power(5.0, 500.0)
    energy.power(10.0, 500.0)
    energy.power(11.0, 100.0)
    assert energy.joules == 100.0


def _trace_w(at: float) -> float:
    return 150.0 + 100.0 * math.sin(at / 40.0) + 20.0 * math.sin(at / 7.0)


def _true_joules(begin: float, end: float) -> float:
    def antiderivative(at: float) -> float:
        return 150.0 * at - 4000.0 * math.cos(at / 40.0) - 140.0 * math.cos(at / 7.0)

    return antiderivative(end) - antiderivative(begin)


@given(gaps=st.lists(st.integers(1, 3500), max_size=5), seed=st.integers(0, 1 << 32))
def test_integrated_watts_are_within_a_thousandth_of_a_known_trace(gaps: list[int], seed: int) -> None:
    jitter = random.Random(seed).uniform
    energy, wanted, before = Energy(longest_gap_s=5), 0.0, None
    for second in range(3600):
        if any(gap <= second < gap + 60 for gap in gaps):
            continue
        at = second + jitter(-0.2, 0.2)
        energy.power(at, _trace_w(at))
        if before is not None and at - before <= 5:
            wanted += _true_joules(before, at)
        before = at
    assert energy.joules == pytest.approx(wanted, rel=1e-3)


@given(start=st.floats(0, 262_143), step=st.floats(0.5, 200), seed=st.integers(0, 1 << 32))
def test_a_wrapping_counter_is_within_a_thousandth_of_a_known_trace(start: float, step: float, seed: int) -> None:
    range_j, jitter = 262_143.328850, random.Random(seed).uniform
    energy, at = Energy(most_w=1000), 0.0
    first = at
    while at < 5000:
        raw = (start + _true_joules(0.0, at)) % range_j
        energy.counter(at, min(raw, range_j), range_j)
        last, at = at, at + step * jitter(0.5, 1.0)
    assert energy.gap_s == 0.0
    assert energy.joules == pytest.approx(_true_joules(first, last), rel=1e-3)


@given(st.lists(st.tuples(st.floats(allow_nan=True), st.floats(allow_nan=True), st.sampled_from(["w", "c", "r", "x"]))))
def test_whatever_is_read_energy_never_falls(readings: list[tuple[float, float, str]]) -> None:
    energy, before = Energy(), 0.0
    for at, value, kind in readings:
        match kind:
            case "w":
                energy.power(at, value)
            case "c":
                energy.counter(at, value)
            case "r":
                energy.counter(at, value, 1e6)
            case _:
                energy.lost(at)
        assert (energy.joules or 0.0) >= before
        before = energy.joules or 0.0
