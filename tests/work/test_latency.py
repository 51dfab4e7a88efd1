from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from miner.work.latency import BOUNDS_S, Latencies


def test_a_latency_on_a_bound_belongs_below_it() -> None:
    assert dict(Latencies().taken(0.5).taken(0.5001).cumulative())[0.5] == 1


@given(st.lists(st.floats(0, 1e6)))
def test_every_latency_is_counted_once_and_buckets_never_fall(latencies: list[float]) -> None:
    seen = Latencies()
    for latency_s in latencies:
        seen = seen.taken(latency_s)
    cumulative = list(seen.cumulative())
    assert [bound for bound, _ in cumulative] == list(BOUNDS_S)
    assert [count for _, count in cumulative] == [sum(x <= bound for x in latencies) for bound in BOUNDS_S]
    assert cumulative[-1] == (inf, len(latencies))
    assert seen.sum_s == sum(latencies)
