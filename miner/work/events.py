"""Events that the manager takes and effects that it returns. They are plain values: a recorded list replays a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from backends.base import Hit

from .job import Job
from .share import Answer, Share

# ---- events: from sources, feeds and the clock


@dataclass(frozen=True, slots=True)
class SourceUp:
    """The source can take shares and will send jobs."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceDown:
    """The source cannot be reached now. It retries by itself.

    `unanswered`: it was left because it answered none of the shares on their way to it.
    """

    source: str
    reason: str
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class SourceFailed:
    """The source has given up: a person must act. `reason` is a sentence for that person."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """`replace`: all older jobs of this source are dead now. Otherwise they stay valid (an update)."""

    job: Job
    replace: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """The source's answer to a share."""

    source: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Found:
    """A feed judged this hit GOOD, or it solves a block of a job that is already dead."""

    device: str
    hit: Hit
    job: Job
    extranonce2: bytes
    hash: int
    stale: bool


@dataclass(frozen=True, slots=True)
class MiningBegan:
    """The first hashes were done, compiling is over: mining time counts from now."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed.

    `hashes`: how many were done on each source's leases since the start, as far as counted by now. `exhausted`: ids of
    jobs that devices wait on in vain, because no header of theirs is left. `resting`: all devices are kept off, so time
    from now on is no mining time.
    """

    hashes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    exhausted: frozenset[int] = frozenset()
    resting: bool = False


SourceEvent = SourceUp | SourceDown | SourceFailed | NewJob | Answered
Event = SourceEvent | Found | MiningBegan | Tick


# ---- effects: what the shell must do


@dataclass(frozen=True, slots=True)
class Serve:
    """Have feeds lease from this job from now on (None: idle). `replace` stops running work at once."""

    job: Job | None
    replace: bool


@dataclass(frozen=True, slots=True)
class Retire:
    """Have feeds call hits on these jobs (by id) stale from now on."""

    jobs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Submit:
    """Hand this share to its source."""

    share: Share


class Fate(StrEnum):
    """Why a found block is not submitted, or its answer not awaited; the name of the log event."""

    WITHHELD = "block_withheld"  # not submitted, on purpose
    UNANSWERED = "block_unanswered"  # submitted, and nobody waits for the answer any more
    LOST = "block_lost"  # it cannot be submitted


@dataclass(frozen=True, slots=True)
class BlockDropped:
    """Tell the operator the fate of this found block."""

    fate: Fate
    source: str
    device: str
    height: int | None
    hash: int
    reason: str  # a clause for the operator

    @classmethod
    def of(cls, fate: Fate, block: Found | Share, reason: str) -> Self:
        """Build the effect from a hit or a share that solves a block."""
        return cls(fate, block.job.source, block.device, block.job.height, block.hash, reason)


@dataclass(frozen=True, slots=True)
class Finish:
    """The run is over: a limit was reached (ok) or nothing is left to mine on (not ok)."""

    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Distrust:
    """This source credits nothing: it gives way to others that are ready, and is tried again in `rest_s` seconds."""

    source: str
    reason: str
    rest_s: float


@dataclass(frozen=True, slots=True)
class Trust:
    """This source has accepted a share again."""

    source: str


Effect = Serve | Retire | Submit | BlockDropped | Distrust | Trust | Finish
