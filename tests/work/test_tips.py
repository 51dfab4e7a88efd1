"""A source is left behind when another moves on from its block, and only then."""

from __future__ import annotations

import pytest

from miner.work.tips import BEHIND_S, Tips

X, Y, Z = (bytes([fill]) * 32 for fill in b"xyz")


@pytest.fixture
def tips() -> Tips:
    """Two sources on one block."""
    seen = Tips()
    seen.saw("a", X, 0.0)
    seen.saw("b", X, 1.0)
    return seen


def behind(tips: Tips, now: float) -> set[str]:
    return {source for source in ("a", "b") if tips.behind(source, now)}


def test_who_stays_on_a_block_that_another_left_is_behind_after_a_while(tips: Tips) -> None:
    tips.saw("b", Y, 100.0)
    assert behind(tips, 100.0 + BEHIND_S - 0.1) == set()
    assert behind(tips, 100.0 + BEHIND_S) == {"a"}


def test_who_follows_is_behind_no_more(tips: Tips) -> None:
    tips.saw("b", Y, 100.0)
    tips.saw("a", Y, 100.0 + 2 * BEHIND_S)
    assert behind(tips, 1e6) == set()


def test_further_jobs_on_the_same_block_are_no_way_out(tips: Tips) -> None:
    tips.saw("b", Y, 100.0)
    for second in range(101, 300):
        tips.saw("a", X, second)
    assert behind(tips, 300.0) == {"a"}


def test_rivals_on_one_height_are_not_behind_each_other(tips: Tips) -> None:
    tips.saw("a", Y, 100.0)
    tips.saw("b", Z, 100.0)
    assert behind(tips, 1e6) == set()


def test_a_block_that_somebody_returns_to_is_not_left(tips: Tips) -> None:
    tips.saw("b", Y, 100.0)
    tips.saw("b", X, 130.0)
    assert behind(tips, 150.0) == set()
    assert behind(tips, 1e6) == set()


def test_who_falls_back_to_an_old_block_is_behind_and_leaves_nobody_behind(tips: Tips) -> None:
    for source in ("a", "b"):
        tips.saw(source, Y, 100.0)
    tips.saw("a", X, 200.0)
    assert behind(tips, 200.0 + BEHIND_S) == {"a"}
    tips.saw("b", Z, 300.0)
    assert behind(tips, 1e6) == {"a"}


def test_who_begins_on_a_block_that_was_left_long_ago_is_behind_at_once(tips: Tips) -> None:
    tips.saw("b", Y, 100.0)
    tips.saw("c", X, 1000.0)
    assert tips.behind("c", 1000.0)


def test_of_a_source_that_was_taken_out_nothing_is_known(tips: Tips) -> None:
    tips.forget("b")
    tips.saw("b", Y, 100.0)
    assert behind(tips, 1e6) == set()
    tips.saw("a", Z, 200.0)
    tips.forget("a")
    assert behind(tips, 1e6) == set()


def test_who_hangs_is_behind_however_many_blocks_the_others_have_seen_since(tips: Tips) -> None:
    for number in range(1000):
        tips.saw("b", number.to_bytes(32), float(number))
    assert behind(tips, 1000.0) == {"a"}


def test_what_is_remembered_of_left_blocks_is_bounded(tips: Tips) -> None:
    for number in range(1000):
        tips.saw("b", number.to_bytes(32), float(number))
    assert len(tips._left["b"]) <= 64 + 1
