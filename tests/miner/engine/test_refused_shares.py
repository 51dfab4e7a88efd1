from __future__ import annotations

from miner.engine.refused_shares import BURST, SPAN_S, RefusedShares
from miner.work.share import Reason


def test_the_first_shares_of_a_kind_are_named_and_the_others_are_counted() -> None:
    shares = RefusedShares()
    named = [line for n in range(BURST + 102) for line in shares.refused("p", Reason.UNANSWERED, {"n": n}, 0.0)]
    assert named == [{"n": n} for n in range(BURST)]
    assert shares.tick(SPAN_S - 0.1) == []
    assert shares.tick(SPAN_S) == [{"n": BURST + 101, "more": 101}]
    assert shares.tick(9 * SPAN_S) == []


def test_another_pool_or_reason_is_another_kind() -> None:
    shares = RefusedShares()
    for n in range(BURST + 1):
        shares.refused("p", Reason.STALE, {"n": n}, 0.0)
    assert shares.refused("q", Reason.STALE, {"n": 1}, 0.0) == [{"n": 1}]
    assert shares.refused("p", Reason.OTHER, {"n": 2}, 0.0) == [{"n": 2}]
    assert shares.flush() == [{"n": BURST}], "one alone counts no more"


def test_a_refusal_now_and_then_is_always_named_at_once() -> None:
    shares = RefusedShares()
    for n in range(100):
        now = n * SPAN_S / BURST
        assert shares.tick(now) == []
        assert shares.refused("p", Reason.STALE, {"n": n}, now) == [{"n": n}]
