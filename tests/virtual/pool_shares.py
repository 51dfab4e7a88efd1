"""Shares that raw miners find and hand to the virtual pool."""

from __future__ import annotations

from typing import Any

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Terms
from tests.virtual.raw_miner import RawMiner, Work

X2 = "00000001"
MASK = 0x1FFFE000


def steady(terms: Terms) -> VirtualPool:
    """A pool whose jobs are the same each time, so that chance, which lets easy shares pass, decides alike."""
    return VirtualPool(terms, clock=lambda: 1_790_000_000.0)


def mined(work: Work, extranonce2: str = X2, **how: Any) -> tuple[str, str]:
    return next(work.search(extranonce2, **how))


def a_share(pool: VirtualPool) -> dict[str, Any]:
    """One share from connecting to its answer."""
    with RawMiner(pool.port) as miner:
        return one_share(miner)


def one_share(miner: RawMiner) -> dict[str, Any]:
    miner.configure()
    work = miner.begin()
    return miner.submit(work, X2, mined(work), "00000000")
