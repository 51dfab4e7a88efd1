from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable

import pytest

from miner.work.strategy import Candidate, Failover, Quota, Rotate, Strategy


def ready(*names: str) -> list[Candidate]:
    return [Candidate(name, ready=name in names) for name in ("primary", "backup", "third")]


def test_the_preferred_source_is_mined_as_soon_as_it_is_ready() -> None:
    choose = Failover(settle_s=60.0)
    assert choose(ready(), 0.0) is None
    assert choose(ready("backup"), 1.0) == "backup"
    assert Failover()(ready("primary", "backup"), 0.0) == "primary"


def test_at_the_start_the_preferred_source_is_not_kept_waiting() -> None:
    choose = Failover(settle_s=60.0)
    assert choose(ready("backup"), 0.0) == "backup"
    assert choose(ready("primary", "backup"), 0.5) == "primary"


def test_a_lost_source_is_left_at_once_for_the_best_that_is_ready() -> None:
    choose = Failover(settle_s=60.0)
    choose(ready("primary", "backup", "third"), 0.0)
    assert choose(ready("backup", "third"), 5.0) == "backup"
    assert choose(ready("third"), 6.0) == "third"
    assert choose(ready(), 7.0) is None


def test_work_returns_only_to_a_source_that_has_been_ready_for_a_while() -> None:
    choose = Failover(settle_s=60.0)
    choose(ready("primary", "backup"), 0.0)
    choose(ready("backup"), 10.0)
    assert choose(ready("primary", "backup"), 20.0) == "backup"
    assert choose(ready("backup"), 79.0) == "backup"  # it flaps: its time begins anew
    assert choose(ready("primary", "backup"), 80.0) == "backup"
    assert choose(ready("primary", "backup"), 139.9) == "backup"
    assert choose(ready("primary", "backup"), 140.0) == "primary"


TICK_S = 0.25
CUSTOMERS = {"a": 70.0, "b": 20.0, "c": 10.0}


class Hall:
    """A fake clock, and devices whose hashes are counted for whoever is mined; some only `lag_s` later."""

    def __init__(self, choose: Strategy, *names: str, lag_s: float = 0.0) -> None:
        self.choose = choose
        self.now = 0.0
        self.up = dict.fromkeys(names, True)
        self.done: Counter[str] = Counter()
        self.mined: list[str | None] = []
        self._late: deque[tuple[float, str]] = deque()
        self._lag_s = lag_s

    def run(self, seconds: float, rate_hps: Callable[[float], int] = lambda _: 1_000_000) -> Counter[str]:
        """What was hashed for each."""
        before = self.done.copy()
        for _ in range(round(seconds / TICK_S)):
            chosen = self.choose([Candidate(name, up, self.done[name]) for name, up in self.up.items()], self.now)
            self.mined.append(chosen)
            self.now += TICK_S
            if chosen is not None:
                self._late.append((self.now + self._lag_s, chosen))
            while self._late and self._late[0][0] <= self.now:
                self.done[self._late.popleft()[1]] += int(rate_hps(self.now) * TICK_S)
        return self.done - before


def parts(work: Counter[str]) -> dict[str, float]:
    return {name: hashes / work.total() for name, hashes in sorted(work.items())}


@pytest.mark.parametrize("lag_s", [0.0, 5.0], ids="counted {} s late".format)
def test_expected_work_is_divided_by_quota(lag_s: float) -> None:
    work = Hall(Quota(CUSTOMERS), *CUSTOMERS, lag_s=lag_s).run(3600)
    assert parts(work) == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, rel=0.01)


def test_it_is_work_that_is_divided_and_not_time() -> None:
    luck = random.Random(3)
    work = Hall(Quota(CUSTOMERS), *CUSTOMERS).run(3600, lambda _: luck.choice((0, 10_000, 5_000_000)))
    assert parts(work) == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, rel=0.01)


def test_shares_come_as_the_work_that_was_given_lets_expect() -> None:
    luck = random.Random(5)
    work = Hall(Quota(CUSTOMERS), *CUSTOMERS).run(20_000)
    per_share = 1 << 20
    for name, weight in CUSTOMERS.items():
        shares = sum(luck.random() < 1e6 * TICK_S / per_share for _ in range(int(work[name] / (1e6 * TICK_S))))
        expected = weight / 100 * work.total() / per_share
        assert abs(shares - expected) < 4 * expected**0.5


def test_the_part_of_one_that_is_away_goes_to_the_others_and_nobody_catches_up_afterwards() -> None:
    hall = Hall(Quota(CUSTOMERS), *CUSTOMERS, lag_s=2.0)
    hall.run(600)
    hall.up["a"] = False
    assert parts(hall.run(3600)) == pytest.approx({"a": 0, "b": 2 / 3, "c": 1 / 3}, abs=0.01)
    hall.up["a"] = True
    assert parts(hall.run(60)) == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, abs=0.1)
    assert parts(hall.run(3600)) == pytest.approx({"a": 0.7, "b": 0.2, "c": 0.1}, rel=0.01)


def test_what_was_done_while_all_were_away_is_held_against_nobody() -> None:
    quota = Quota({"a": 1.0, "b": 1.0})
    quota([Candidate("a", True, 0), Candidate("b", True, 0)], 0.0)
    assert quota([Candidate("a", False, 0), Candidate("b", False, 0)], 1.0) is None
    quota([Candidate("a", False, 10**9), Candidate("b", False, 0)], 30.0)  # its last job was worked on
    hall = Hall(quota, "a", "b")
    hall.now, hall.done = 31.0, Counter(a=10**9)
    assert parts(hall.run(10)) == pytest.approx({"a": 0.5, "b": 0.5}, abs=0.05)


def test_a_reserve_is_mined_only_while_nobody_else_is_there() -> None:
    hall = Hall(Quota({"a": 1.0, "reserve": 0.0}), "a", "reserve")
    assert set(hall.run(60)) == {"a"}
    hall.up["a"] = False
    assert set(hall.run(60)) == {"reserve"}
    hall.up["a"] = True
    assert set(hall.run(60)) == {"a"}


def test_quotas_may_change_while_it_runs() -> None:
    quota = Quota({"a": 1.0, "b": 1.0})
    hall = Hall(quota, "a", "b")
    hall.run(600)
    quota.weights = {"a": 3.0, "b": 1.0}
    assert parts(hall.run(3600)) == pytest.approx({"a": 0.75, "b": 0.25}, rel=0.01)


def test_with_rotation_each_has_its_turn_and_who_is_away_is_passed_over() -> None:
    hall = Hall(Rotate(period_s=60.0), "a", "b", "c")
    assert hall.run(180) == Counter(a=60_000_000, b=60_000_000, c=60_000_000)
    hall.up["b"] = False
    assert hall.run(120) == Counter(a=60_000_000, c=60_000_000)
    assert hall.mined[-1] == "c"
    hall.up["c"] = False
    assert hall.run(60) == Counter(a=60_000_000)
    hall.up["a"] = False
    assert not hall.run(60)
    hall.up["c"] = True
    assert hall.run(60) == Counter(c=60_000_000)
    assert hall.run(60) == Counter(c=60_000_000), "nobody else is there"
