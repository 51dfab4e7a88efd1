"""What every source shares that builds blocks of its own, be it for a node or for the embedded chain."""

from __future__ import annotations

from miner.work.share import Reason

TAG = b"/angara/"  # stands in every coinbase of ours
EXTRANONCE_SIZE = 8  # bytes
AHEAD_S = 600  # how far ntime may run ahead of where it starts; nodes accept two hours

PARENT_MISSING = "prev-blk-not-found"
_LOST_RACE = frozenset(
    {
        "inconclusive",
        "duplicate-inconclusive",
        "inconclusive-not-best-prevblk",
        PARENT_MISSING,
        "bad-prevblk",
        "stale-prevblk",
        "stale-work",
    }
)


def reason_of(verdict: str) -> Reason:
    """The bounded reason behind a node's word (BIP 22 and Bitcoin Core's validation)."""
    if verdict in _LOST_RACE:
        return Reason.STALE
    if verdict == "high-hash":
        return Reason.LOW_DIFFICULTY
    if verdict.startswith("time-"):
        return Reason.BAD_TIME
    if verdict.startswith("bad-version"):
        return Reason.BAD_VERSION
    if verdict.startswith("bad-"):
        return Reason.MALFORMED
    return Reason.OTHER
