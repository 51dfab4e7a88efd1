"""A share on its way to a source, and the answer that comes back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .job import Job


@dataclass(frozen=True, slots=True)
class Share:
    """A hash worth sending, with the fields as they will be submitted."""

    id: int  # process-unique, rising
    job: Job
    device: str
    extranonce2: bytes  # empty for a ready root
    nonce: int
    version: int  # full header value
    ntime: int
    hash: int  # as compared with targets
    block: bool  # solves the first block on its parent: send it whatever else is true
    stale: bool  # its job was dead when it was found; only blocks are sent then
    found_at: float  # seconds, monotonic


class Reason(StrEnum):
    """Why a share was not accepted: the bounded set that metrics carry; the peer's text goes to the log."""

    STALE = "stale"
    DUPLICATE = "duplicate"
    LOW_DIFFICULTY = "low-difficulty"
    UNAUTHORIZED = "unauthorized"
    NOT_SUBSCRIBED = "not-subscribed"
    BAD_TIME = "bad-time"
    BAD_VERSION = "bad-version"
    MALFORMED = "malformed"
    UNANSWERED = "unanswered"  # no answer in time, or the connection ended first
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Answer:
    """The source's answer to a share."""

    share_id: int
    accepted: bool
    block: bool  # the share was submitted as a block; `accepted` is about the block
    reason: Reason | None = None  # None when accepted
    text: str = ""  # the peer's words, bounded and stripped of control characters
    sent_at: float | None = None  # seconds, monotonic; None: it never left, or the source does not say
    difficulty: float | None = None  # the difficulty that the source counts; None: that of the job's target
