from __future__ import annotations

from miner.work.strategy import Candidate, Failover


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
