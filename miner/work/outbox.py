"""What was handed in: which shares wait for an answer, which hits were sent before, which parents have a block of ours.

    share(found) --> PENDING --settle(answer)--> gone
                        +--overdue, crowded_out: abandon --> gone

    a block is sent: its parent is SOLVED --refused, abandoned, or the source gives out work on the parent--> open again

All of it is bounded. What it means for a source's account is the manager's business.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .events import Found
from .job import Job
from .share import Answer, Share

ANSWER_S = 120.0  # how long a share waits for its answer
BLOCK_S = 600.0  # how long an unanswered block counts as on its parent
DOUBT_S = 30.0  # how long it keeps its parent solved, whatever work the source gives out, and holds up the last blocks
PENDING_SHARES = 4096
SOLVED_PARENTS = 64
SENT_SHARES = 8192  # remembered, so that none is sent twice

_share_ids = itertools.count(1)


@dataclass(slots=True)
class _Solution:
    """A block of ours that was sent on a parent and not refused."""

    share_id: int
    sent_at: float
    accepted: bool = False


class Outbox:
    """The shares of all sources."""

    def __init__(self) -> None:
        self._pending: OrderedDict[int, Share] = OrderedDict()
        self._sent: OrderedDict[tuple[int, bytes, int, int, int], None] = OrderedDict()
        self._solved: OrderedDict[tuple[str, bytes], _Solution] = OrderedDict()  # by source and parent

    @property
    def pending(self) -> Mapping[int, Share]:
        """Shares that were sent and not answered yet, by id, oldest first; a live view."""
        return MappingProxyType(self._pending)

    def blocks(self, now: float) -> int:
        """How many of those are blocks that devices wait for; older ones still count, should an answer come.

        A node that has left a block's parent refuses the block again and again, and may do so for ever.
        """
        return sum(1 for share in self._pending.values() if share.block and now - share.found_at < DOUBT_S)

    def solved(self, job: Job) -> bool:
        """Whether a block of ours on this job's parent was sent to its source, which may build on it."""
        return (job.source, job.prev_hash) in self._solved

    def carries(self, job: Job, now: float) -> bool:
        """Whether a block of ours on this job's parent was accepted, or has waited less than BLOCK_S for its answer."""
        solution = self._solved.get((job.source, job.prev_hash))
        return solution is not None and (solution.accepted or now - solution.sent_at < BLOCK_S)

    def reopen(self, job: Job, now: float) -> None:
        """Let another block be sent on this new job's parent: the source does not build on ours.

        An unanswered block keeps its parent solved for DOUBT_S, because the source may have made the job before that
        block arrived. Call this for each new job of a source.
        """
        parent = (job.source, job.prev_hash)
        solution = self._solved.get(parent)
        if solution is not None and (solution.accepted or now - solution.sent_at >= DOUBT_S):
            del self._solved[parent]

    def share(self, found: Found, now: float, *, block: bool, stale: bool) -> Share | None:
        """The share to send, pending from now on; None where the same hit was sent before."""
        job, hit = found.job, found.hit
        key = (job.id, found.extranonce2, hit.nonce, hit.version, hit.ntime)
        if key in self._sent:
            return None
        self._sent[key] = None
        if len(self._sent) > SENT_SHARES:
            self._sent.popitem(last=False)
        share = Share(
            id=next(_share_ids),
            job=job,
            device=found.device,
            extranonce2=found.extranonce2,
            nonce=hit.nonce,
            version=hit.version,
            ntime=hit.ntime,
            hash=found.hash,
            block=block,
            stale=stale,
            found_at=now,
        )
        if block:
            self._solved[job.source, job.prev_hash] = _Solution(share.id, now)
            if len(self._solved) > SOLVED_PARENTS:
                self._solved.popitem(last=False)
        self._pending[share.id] = share
        return share

    def settle(self, answer: Answer) -> Share | None:
        """The share that this answers; None where nobody waits for it any more."""
        share = self._pending.pop(answer.share_id, None)
        if share is None:
            return None
        if not answer.accepted:
            self._unsolve(share)
        elif (solution := self._solution_of(share)) is not None:
            solution.accepted = True
        return share

    def abandon(self, share: Share) -> None:
        """Wait for this one no longer."""
        del self._pending[share.id]
        self._unsolve(share)

    def overdue(self, now: float) -> list[Share]:
        """What has waited too long; never a block, for its source sends it until it is answered."""
        late = itertools.takewhile(lambda share: now - share.found_at >= ANSWER_S, self._pending.values())
        return [share for share in late if not share.block]

    def crowded_out(self) -> Share | None:
        """The share to abandon where too many wait: the oldest that is no block, or else the newest."""
        if len(self._pending) <= PENDING_SHARES:
            return None
        oldest = next((share for share in self._pending.values() if not share.block), None)
        return oldest or next(reversed(self._pending.values()))

    def _unsolve(self, share: Share) -> None:
        if self._solution_of(share) is not None:
            del self._solved[share.job.source, share.job.prev_hash]

    def _solution_of(self, share: Share) -> _Solution | None:
        """What this block solved, unless a later block was sent on the same parent."""
        solution = self._solved.get((share.job.source, share.job.prev_hash))
        return solution if solution is not None and solution.share_id == share.id else None
