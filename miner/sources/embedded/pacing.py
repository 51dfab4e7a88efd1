"""How hard a block is made, so that one takes about as long as the operator wants to wait.

A search has no memory: at a target of one in `rate * interval` hashes the next block is `interval` seconds away on
average, however long the search has lasted and whatever the target was before. So a target may change at any moment,
and a measured rate that is a little wrong makes the interval wrong by just as much, no more.
"""

from __future__ import annotations

from fractions import Fraction

from miner.chain.network import Network

EASIEST = Network.REGTEST.pow_limit.value  # what the rules of the chain want in any case
TOLERANCE = 1.25  # a rate this many times higher or lower than assumed is worth a new target


def paced_target(rate_hps: float, interval_s: float) -> int:
    """The target that a hash must not exceed, so that hashing at this rate meets it once in `interval_s` on average.

    Never easier than regtest's own limit, at which a block takes two hashes. Both arguments positive and finite.
    """
    hashes = Fraction(rate_hps) * Fraction(interval_s)
    return min(max(int((1 << 256) / hashes) - 1, 1), EASIEST)


def drifted(rate_hps: float, assumed_hps: float) -> bool:
    """Whether the rate has left the band around the one that the present target assumes."""
    return not assumed_hps / TOLERANCE <= rate_hps <= assumed_hps * TOLERANCE
