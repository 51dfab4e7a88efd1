"""What the private chain asks to be mined and what it makes of shares, decided without a clock, a judge or a loop.

      Extended(tip)    a block joined the chain, or there is one at last: a job on the new tip, all older are dead
      Rated(hashes/s)  out of the band that the target assumes: a job with a fitting target, older ones stay good
      Handed(share)    of a dead job -> STALE      won before -> DUPLICATE
                       not confirmed -> MALFORMED  otherwise  -> Put(block) before the judge ... Ruled(ruling)

Time comes in as `now`, seconds on a monotonic clock; `wall_s` in events is Unix time, for the headers.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import assert_never

import structlog

from miner.sources.consensus import Ruling, Tip
from miner.sources.solo import reason_of
from miner.work.events import Answered, NewJob
from miner.work.job import Job
from miner.work.share import Answer, Reason, Share

from .draft import Draft, ShareUnsound, draft_on
from .pacing import drifted, paced_target

log = structlog.get_logger()

LIVE_JOBS = 16  # on one tip; as many as the work manager keeps of a source
_WON_BLOCKS = 64  # remembered, to tell a share that comes twice from one that comes late
_TEXT_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Extended:
    """The chain has a new tip."""

    tip: Tip
    wall_s: float


@dataclass(frozen=True, slots=True)
class Rated:
    """How fast all devices hash at present; None or 0: not known."""

    rate_hps: float | None
    wall_s: float


@dataclass(frozen=True, slots=True)
class Handed:
    """A share was submitted."""

    share: Share


@dataclass(frozen=True, slots=True)
class Ruled:
    """What the judge said of a share's block."""

    share: Share
    ruling: Ruling


Event = Extended | Rated | Handed | Ruled


@dataclass(frozen=True, slots=True)
class Put:
    """Effect: put this block before the judge and come back with the ruling."""

    share: Share
    block: bytes


Effect = NewJob | Answered | Put


class PrivateChain:
    """One life of the chain, from genesis; a source's next session gets another."""

    def __init__(
        self, *, source: str, session: int, payout_script: bytes, interval_s: float, assumed_hps: float
    ) -> None:
        self._source = source
        self._session = session
        self._payout_script = payout_script
        self._interval_s = interval_s
        self._rate_hps = assumed_hps  # the last that was known
        self._paced_hps = assumed_hps  # what the newest job's target assumes
        self._tip: Tip | None = None
        self._keys = itertools.count(1)
        self._live: OrderedDict[str, Draft] = OrderedDict()
        self._won: deque[int] = deque(maxlen=_WON_BLOCKS)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about this event."""
        match event:
            case Extended(tip, wall_s):
                self._tip = tip
                self._live.clear()
                return [NewJob(self._draft(tip, wall_s, now), replace=True)]
            case Rated(rate_hps, wall_s):
                self._rate_hps = rate_hps or self._rate_hps
                if self._tip is None or not drifted(self._rate_hps, self._paced_hps):
                    return []
                return [NewJob(self._draft(self._tip, wall_s, now), replace=False)]
            case Handed(share):
                return [self._examine(share)]
            case Ruled(share, ruling):
                return [self._answer(share, ruling)]
            case _:
                assert_never(event)

    def _draft(self, tip: Tip, wall_s: float, now: float) -> Job:
        self._paced_hps = self._rate_hps
        target = paced_target(self._rate_hps, self._interval_s)
        draft = draft_on(tip, payout_script=self._payout_script, target=target, wall_s=wall_s)
        key = f"{next(self._keys):x}"
        self._live[key] = draft
        if len(self._live) > LIVE_JOBS:
            self._live.popitem(last=False)
        return draft.job(self._source, self._session, key, now)

    def _examine(self, share: Share) -> Effect:
        if share.hash in self._won:
            return self._refuse(share, Reason.DUPLICATE, "this block is in the chain already")
        draft = self._live.get(share.job.key) if share.job.session == self._session else None
        if draft is None:
            return self._refuse(share, Reason.STALE, "the chain has moved on")
        try:
            return Put(share, draft.solved(share))
        except ShareUnsound as error:
            log.exception("share_unsound", source=self._source, share=share.id, device=share.device)
            return self._refuse(share, Reason.MALFORMED, str(error))

    def _answer(self, share: Share, ruling: Ruling) -> Answered:
        if ruling.accepted:
            self._won.append(share.hash)
            return Answered(self._source, Answer(share.id, accepted=True, block=True))
        text = ", ".join(filter(None, (ruling.reason, ruling.detail)))[:_TEXT_LIMIT]
        log.error("block_rejected", source=self._source, share=share.id, height=share.job.height, text=text)
        answer = Answer(share.id, accepted=False, block=True, reason=reason_of(ruling.reason or ""), text=text)
        return Answered(self._source, answer)

    def _refuse(self, share: Share, reason: Reason, text: str) -> Answered:
        """Answer a share that never was a block: the judge does not hear of it."""
        return Answered(
            self._source, Answer(share.id, accepted=False, block=False, reason=reason, text=text[:_TEXT_LIMIT])
        )
