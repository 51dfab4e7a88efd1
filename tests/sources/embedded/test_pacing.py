from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.network import Network
from miner.chain.target import Target
from miner.sources.embedded.pacing import drifted, paced_target

rates = st.floats(min_value=1e-3, max_value=1e18)
intervals = st.floats(min_value=1e-3, max_value=86400)


@given(rates, intervals)
def test_a_block_takes_the_interval_times_the_rate_in_hashes_and_never_less_than_regtest_wants(
    rate: float, interval: float
) -> None:
    target = Target(paced_target(rate, interval))
    limit = Network.REGTEST.pow_limit
    assert target <= limit
    if target < limit:
        assert 2**256 / (target.value + 1) == pytest.approx(rate * interval, rel=1e-9)
    else:
        assert rate * interval <= 2**256 / (limit.value + 1)


@given(rates, intervals)
def test_more_hashes_a_second_never_make_blocks_easier(rate: float, interval: float) -> None:
    assert paced_target(rate * 2, interval) <= paced_target(rate, interval)


@pytest.mark.parametrize(
    ("rate", "out"), [(100, False), (124, False), (126, True), (81, False), (79, True), (1e9, True)]
)
def test_a_rate_has_drifted_once_it_is_a_quarter_higher_or_as_much_lower(rate: float, out: bool) -> None:  # noqa: FBT001
    assert drifted(rate, 100) is out
