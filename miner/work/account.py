"""Sums of the shares of one source and of its answers, frozen so that a reader in any thread sees one moment.

Always true: submitted == accepted + stale + sum(rejected) + what is still pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Self

from .latency import Latencies
from .share import Answer, Reason


@dataclass(frozen=True, slots=True)
class Account:
    """One source's shares since the start."""

    submitted: int = 0
    accepted: int = 0
    rejected: Mapping[Reason, int] = field(default_factory=lambda: MappingProxyType({}))  # STALE has its own sum
    stale: int = 0  # sent, and answered as stale
    withheld: int = 0  # not sent: found on a dead job, one more block on a solved parent, or a bare block
    blocks_accepted: int = 0
    blocks_rejected: int = 0
    accepted_difficulty: float = 0.0
    hashes: int = 0  # done on its leases: the expected work, whatever the luck
    latency_s: float | None = None  # of the last answer: found to answered
    sending_s: float | None = None  # of that, found to sent
    answering_s: float | None = None  # and sent to answered
    latencies: Latencies = field(default_factory=Latencies)  # of every answer
    reconnects: int = 0

    def sent(self) -> Self:
        return replace(self, submitted=self.submitted + 1)

    def kept_back(self) -> Self:
        return replace(self, withheld=self.withheld + 1)

    def reconnected(self) -> Self:
        return replace(self, reconnects=self.reconnects + 1)

    def worked(self, hashes: int) -> Self:
        """Set the hashes done since the start."""
        return replace(self, hashes=hashes)

    def unanswered(self) -> Self:
        return self._refused(Reason.UNANSWERED)

    def answered(self, answer: Answer, difficulty: float, found_at: float, now: float) -> Self:
        """Add an answer that arrived at `now` to a share of this difficulty, found at `found_at`."""
        if answer.accepted:
            changed = replace(
                self, accepted=self.accepted + 1, accepted_difficulty=self.accepted_difficulty + difficulty
            )
        else:
            changed = self._refused(answer.reason or Reason.OTHER)
        return replace(
            changed,
            latency_s=now - found_at,
            latencies=self.latencies.taken(now - found_at),
            sending_s=None if answer.sent_at is None else answer.sent_at - found_at,
            answering_s=None if answer.sent_at is None else now - answer.sent_at,
            blocks_accepted=self.blocks_accepted + (answer.block and answer.accepted),
            blocks_rejected=self.blocks_rejected + (answer.block and not answer.accepted),
        )

    def _refused(self, reason: Reason) -> Self:
        if reason is Reason.STALE:
            return replace(self, stale=self.stale + 1)
        rejected = {**self.rejected, reason: self.rejected.get(reason, 0) + 1}
        return replace(self, rejected=MappingProxyType(rejected))
