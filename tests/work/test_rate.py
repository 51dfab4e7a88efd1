from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.work.rate import HitMeter, Windows, chance, hits_due

MILLION = (1 << 256) // 1_000_000 - 1  # a target that takes a million hashes


def test_nothing_is_known_before_anything_was_done() -> None:
    windows = Windows()
    assert windows.rate(5.0, 10) is None
    windows.add(5.0, 1000)
    assert windows.rate(5.5, 10) is None
    assert windows.rate(6.0, 10) == 1000.0


def test_each_window_sees_its_own_past() -> None:
    windows = Windows()
    windows.begin(0.0)
    for second in range(2000):
        windows.add(second + 0.5, 100 if second < 1985 else 400)
    assert windows.total == 1985 * 100 + 15 * 400
    assert windows.rate(2000.0, 10) == 400.0
    assert windows.rate(2000.0, 60) == pytest.approx((45 * 100 + 15 * 400) / 60)
    assert windows.rate(2000.0, 900) == pytest.approx((885 * 100 + 15 * 400) / 900)


def test_a_pause_longer_than_the_longest_window_is_forgotten_work() -> None:
    windows = Windows()
    windows.add(0.0, 10**15)
    assert windows.rate(5000.0, 900) == 0.0
    windows.add(5000.0, 30)
    assert windows.rate(5010.0, 10) == 3.0


def test_threads_that_race_across_a_second_lose_nothing() -> None:
    windows = Windows()
    windows.begin(0.0)
    for second in range(1000):
        windows.add(second + 0.1, 5)
        windows.add(second - 0.1, 5)
    amount, span_s = windows.sum(998.9, 900)
    assert windows.total == 10_000
    assert amount / span_s == pytest.approx(10, rel=0.01)


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 1000)), max_size=60), st.sampled_from([10, 60, 900]))
def test_a_window_is_the_sum_of_what_fell_into_it(steps: list[tuple[float, int]], window_s: int) -> None:
    windows, now, log = Windows(), 100.25, []
    windows.begin(now)
    for wait, amount in steps:
        now += wait
        windows.add(now, amount)
        log.append((now, amount))
    start = math.floor(now) - window_s
    amount, span_s = windows.sum(now, window_s)
    assert amount == sum(amount for at, amount in log if at >= start)
    assert span_s == pytest.approx(min(now - start, now - 100.25))


def meter(hps: float, seconds: int, seed: int = 1) -> HitMeter:
    """Hits as a device with this rate has them, in a mix of two targets."""
    luck, found = random.Random(seed), HitMeter()
    found.begin(0.0)
    for target in (MILLION, MILLION // 10):
        at = 0.0
        while (at := at + luck.expovariate(hps / 2 * hits_due(1, target))) < seconds:
            found.hit(at, target)
    return found


def test_hits_of_any_mix_of_targets_prove_the_rate() -> None:
    measured = meter(hps=5e6, seconds=600).measured(600.0)
    assert measured is not None and measured.hits > 100
    assert measured.hps == pytest.approx(5e6, rel=4 * measured.sigma)
    assert measured.sigma < 0.1


def test_hard_hits_count_for_more_and_are_less_certain() -> None:
    many, few = HitMeter(), HitMeter()
    for each in (many, few):
        each.begin(0.0)
    for _ in range(100):
        many.hit(10.0, MILLION)
    for _ in range(10):
        few.hit(10.0, MILLION // 10)
    known, guessed = many.measured(20.0), few.measured(20.0)
    assert known and guessed
    assert known.hps == pytest.approx(guessed.hps, rel=1e-6) == pytest.approx(5e6, rel=1e-6)
    assert (known.hits, guessed.hits) == (pytest.approx(100), pytest.approx(10))
    assert many.proven == pytest.approx(1e8, rel=1e-6)


def test_before_the_first_hit_nothing_is_measured() -> None:
    found = HitMeter()
    found.begin(0.0)
    assert found.measured(100.0) is None


def test_chance_bounds_the_poisson_tail_on_both_sides() -> None:
    def tail(found: int, due: float) -> float:
        below = sum(math.exp(k * math.log(due) - due - math.lgamma(k + 1)) for k in range(found + 1))
        return below if found <= due else 1 - below

    for found, due in ((0, 5.0), (3, 10.0), (50, 100.0), (20, 10.0)):
        assert tail(found, due) <= chance(found, due) <= 1
    assert chance(0, 0.0) == 1.0 and chance(1, 0.0) == 0.0 and chance(10, 10.0) == 1.0
