from __future__ import annotations

from miner.sources.net.allowance import RELAX_S, Allowance
from miner.sources.stratum.backoff import FIRST_S, LONGEST_S, REFUSED_S, STABLE_S, Backoff
from miner.sources.stratum.effects import Ending


def test_a_burst_passes_and_then_the_rate() -> None:
    allowance = Allowance(rate=100, burst=1000)
    assert sum(allowance.take(0.0) for _ in range(2000)) == 1000
    assert sum(allowance.take(10.0 + i / 1000) for i in range(1000)) == 1000
    assert sum(allowance.take(11.0) for _ in range(1000)) <= 101


def test_what_is_forced_passes_an_empty_bucket() -> None:
    allowance = Allowance(rate=1, burst=1)
    assert allowance.take(0.0)
    assert not allowance.take(0.0)
    assert allowance.take(0.0, forced=True)


def test_the_local_target_gets_harder_under_pressure_and_easier_after() -> None:
    allowance = Allowance(rate=10, burst=100)
    now, sent = 0.0, 0
    for _ in range(600):  # a minute with 1000 shares a second as the pool would have it
        now += 0.1
        sent += sum(allowance.take(now) for _ in range(100 // allowance.easing))
        allowance.adjust(now)
    assert allowance.easing >= 64
    assert sent <= 10 * 60 + 100
    for _ in range(10 * 600):
        now += 0.5
        allowance.adjust(now)
    assert allowance.easing == 1


def test_a_pool_within_bounds_is_left_alone() -> None:
    allowance = Allowance(rate=100, burst=1000)
    for second in range(1000):
        assert all(allowance.take(float(second)) for _ in range(100))
        assert not allowance.adjust(float(second))


def test_it_does_not_get_easier_before_the_bucket_was_full_for_a_while() -> None:
    allowance = Allowance(rate=1, burst=10)
    for _ in range(10):
        allowance.take(0.0)
    assert allowance.adjust(1.0)
    assert not allowance.adjust(20.0)
    assert not allowance.adjust(20.0 + RELAX_S - 1)
    assert allowance.adjust(20.0 + RELAX_S)


def test_it_gets_easier_while_shares_go_on_at_a_pace_that_is_no_trouble() -> None:
    allowance = Allowance(rate=100, burst=1000)
    for _ in range(1000):
        allowance.take(0.0)
    assert allowance.adjust(0.1)
    for quarter in range(4 * 120):  # two minutes with four shares a second
        now = 10.0 + quarter / 4
        assert allowance.take(now)
        allowance.adjust(now)
    assert allowance.easing == 1


def test_a_backlog_that_shrinks_is_no_reason_for_a_harder_target() -> None:
    allowance = Allowance(rate=100, burst=1000)
    waiting, found = 0, 0.0
    for tick in range(4 * 60):  # a minute with 5,000 shares a second, as the pool would have it
        found += 5000 / 4 / allowance.easing
        waiting, found = min(waiting + int(found), 4096), found % 1
        now = tick / 4
        while waiting and allowance.take(now):
            waiting -= 1
        allowance.adjust(now, waiting)
    assert allowance.easing == 64  # 78 a second: what is within the rate


def test_waits_double_up_to_a_minute_and_start_over_after_a_stable_hour() -> None:
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.wait_s(Ending.CLOSED, stable_s=0) for _ in range(8)]
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.wait_s(Ending.CLOSED, stable_s=STABLE_S) == FIRST_S


def test_a_refused_user_is_not_tried_every_second() -> None:
    backoff = Backoff(lambda: 0.5)
    assert backoff.wait_s(Ending.NOT_AUTHORIZED, stable_s=0) == REFUSED_S
    assert max(backoff.wait_s(Ending.NOT_AUTHORIZED, stable_s=0) for _ in range(20)) == LONGEST_S


def test_something_learnt_is_tried_at_once() -> None:
    assert Backoff(lambda: 1.0).wait_s(Ending.CLOSED, stable_s=0, learnt=True) < FIRST_S
