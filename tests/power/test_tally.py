from __future__ import annotations

import pytest

from miner.power.reading import Counter, Sample
from miner.power.tally import Tally


def test_watts_alone_are_integrated() -> None:
    tally = Tally()
    for at in (0.0, 2.0, 4.0):
        tally.handle(Sample(at, watts=50.0))
    assert (tally.joules, tally.watts, tally.gap_s) == (200.0, 50.0, 0.0)


def test_a_counter_is_believed_over_the_watts_beside_it() -> None:
    tally = Tally()
    tally.handle(Sample(0.0, 50.0, (Counter(1000.0),)))
    tally.handle(Sample(10.0, 60.0, (Counter(1900.0),)))
    assert (tally.joules, tally.watts) == (900.0, 60.0)


def test_zones_wrap_each_at_a_moment_of_its_own() -> None:
    tally = Tally(most_w=350.0)
    for at, package, memory in ((0.0, 90.0, 10.0), (0.05, 5.0, 12.0), (0.1, 15.0, 1.0)):
        tally.handle(Sample(at, counters=(Counter(package, 100.0), Counter(memory, 20.0))))
    # 15 + 10 of the package; 2 of the memory, and 9 over its own end
    assert tally.joules == pytest.approx(36.0)


def test_a_coarse_counter_stands_still_and_jumps_without_being_taken_for_nonsense() -> None:
    tally = Tally(most_w=1000.0)
    step_j = 3.6e6
    for at, count in ((0.0, 7), (1.0, 7), (2.0, 8), (3.0, 8)):
        tally.handle(Sample(at, 900.0, (Counter(count * step_j, step_j=step_j),)))
    assert (tally.joules, tally.gap_s) == (step_j, 0.0)


def test_a_meter_that_loses_its_counter_keeps_what_it_counted() -> None:
    tally = Tally()
    tally.handle(Sample(0.0, 50.0, (Counter(0.0),)))
    tally.handle(Sample(10.0, 50.0, (Counter(500.0),)))
    tally.handle(Sample(20.0, 50.0))
    tally.handle(Sample(30.0, 50.0))
    assert tally.joules == 1000.0


def test_what_is_lost_has_no_watts_and_a_sample_without_anything_is_lost() -> None:
    tally = Tally()
    tally.handle(Sample(0.0, 50.0))
    tally.handle(Sample(1.0))
    assert tally.watts is None
    tally.handle(Sample(2.0, 50.0))
    tally.lost(3.0)
    assert tally.watts is None and tally.joules is None
