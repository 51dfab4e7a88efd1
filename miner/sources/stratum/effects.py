"""What the decisions of one pool ask of their shell, and why a connection ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from miner.sources.stratum.redirect import Redirect
from miner.sources.stratum.rolling import Style
from miner.work.events import SourceEvent


class Ending(StrEnum):
    """Why a connection is of no more use."""

    FLOOD = "flood"  # a line without end
    GARBAGE = "garbage"  # one bad line after another
    SILENT = "silent"  # no byte, or no answer to what must be answered
    UNANSWERED = "unanswered"  # shares were on their way, and nothing was answered
    NOT_SUBSCRIBED = "not-subscribed"
    NOT_AUTHORIZED = "not-authorized"
    NO_WORK = "no-work"  # connected, and no job that can be mined
    CLOSED = "closed"  # by the pool
    LEFT = "left"  # by us, for a defect of ours
    MOVED = "moved"  # it sent us elsewhere, or asked us to come again


@dataclass(frozen=True, slots=True)
class Leave:
    """Effect: close this connection; `to` is where a redirection leads."""

    ending: Ending
    text: str
    to: Redirect | None = None


@dataclass(frozen=True, slots=True)
class Say:
    """Effect: a line for the log; `level` as structlog calls it."""

    level: str
    event: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Learnt:
    """Effect: this pool reads version bits so; remember it."""

    style: Style


Effect = SourceEvent | Leave | Say | Learnt
