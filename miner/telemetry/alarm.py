"""One alarm, as everybody who shows it sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """Where an alarm stands."""

    IDLE = "idle"
    PENDING = "pending"
    ACTIVE = "active"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """How soon a person should look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm about one subject. Times are the snapshots' `now`."""

    rule: str
    severity: Severity
    subject: str
    stage: Stage
    since: float  # when it came to this stage
    detail: str  # of the last time it was seen
