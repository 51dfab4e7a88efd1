"""Bare blocks: hashes that solve a block of the chain and miss the source's share target.

On mainnet no pool asks for more than the network does, so that every block is a share, too. On regtest, on testnets at
their least difficulty, and where somebody rents out hashes at an absurd difficulty, a hash may solve the block alone.
Some pools count it (ckpool hands any block to its node), others refuse it as a share of low difficulty (public-pool).

A source is sent bare blocks until it refuses one. Then it gets none for FIRST_PAUSE_S, and after each further refusal
in a row none for twice as long, LONGEST_PAUSE_S at most. So a pool that refuses them is not flooded on regtest, and a
block on mainnet, which comes once in years, still goes out to the very pool that refused the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

from .share import Answer, Reason, Share

FIRST_PAUSE_S = 600.0  # mainnet's time for one block
LONGEST_PAUSE_S = 86_400.0
# A verdict on the hash itself. Others (stale, unauthorized, unanswered) say nothing about the next bare block.
_VERDICTS = frozenset({Reason.LOW_DIFFICULTY, Reason.MALFORMED, Reason.OTHER})


@dataclass(slots=True)
class _Record:
    pause_s: float = FIRST_PAUSE_S  # after the next refusal
    until: float = float("-inf")


class BareBlocks:
    """What is known of each source, by name. Times are seconds on the monotonic clock."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}

    def wanted(self, source: str, now: float) -> bool:
        """Whether a bare block may go to this source now."""
        record = self._records.get(source)
        return record is None or now >= record.until

    def answered(self, share: Share, answer: Answer, now: float) -> None:
        """Learn from the answer to any share; only bare blocks matter."""
        if share.hash <= share.job.share_target:
            return
        if answer.accepted:
            self._records.pop(share.job.source, None)
        elif answer.reason in _VERDICTS:
            record = self._records.setdefault(share.job.source, _Record())
            record.until = now + record.pause_s
            record.pause_s = min(2 * record.pause_s, LONGEST_PAUSE_S)

    def forget(self, source: str) -> None:
        """The source was taken out."""
        self._records.pop(source, None)
