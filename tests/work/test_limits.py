from __future__ import annotations

import pytest

from miner.work.limits import Limits


def test_without_limits_nothing_is_ever_enough() -> None:
    assert Limits().reached(blocks=10**9, shares=10**9, mined_s=1e12) is None
    assert not Limits().enough_blocks(10**9)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(blocks=3), "3 blocks accepted"),
        (Limits(shares=4), "4 shares accepted"),
        (Limits(seconds=5.5), "mined for 5.5 seconds"),
    ],
)
def test_each_limit_ends_the_run_by_itself_when_it_is_reached(limits: Limits, reason: str) -> None:
    finish = limits.reached(blocks=3, shares=4, mined_s=5.5)
    assert finish is not None and finish.ok and finish.reason == reason
    assert limits.reached(blocks=2, shares=3, mined_s=5.4) is None
