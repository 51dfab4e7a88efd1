"""Which refused shares get a line in the log.

A pool that refuses everything, or a connection that is lost with a hundred shares on their way, would fill the log with
equal lines. For each source and reason the first BURST shares within SPAN_S are named. The others are counted, and one
line at the end of the span names the last of them and says how many more there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miner.work.share import Reason

Fields = Mapping[str, Any]  # of one line of the log

BURST = 5
SPAN_S = 10.0


@dataclass(slots=True)
class _Kind:
    ends_at: float
    named: int = 0
    last: Fields | None = None  # fields of the last share that was not named
    count: int = 0  # shares that were not named


class RefusedShares:
    """Decides; time comes in as `now`, seconds on a monotonic clock. A kind is a source with one reason."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, Reason | None], _Kind] = {}

    def refused(self, source: str, reason: Reason | None, fields: Fields, now: float) -> list[Fields]:
        """Take one share with the fields of its line; return the lines to log now."""
        kind = self._kinds.setdefault((source, reason), _Kind(now + SPAN_S))
        if kind.named < BURST:
            kind.named += 1
            return [fields]
        kind.last = fields
        kind.count += 1
        return []

    def tick(self, now: float) -> list[Fields]:
        """Return the lines that are due."""
        over = [key for key, kind in self._kinds.items() if now >= kind.ends_at]
        return [line for key in over for line in _rest(self._kinds.pop(key))]

    def flush(self) -> list[Fields]:
        """Return the lines that are left at the end."""
        kinds, self._kinds = self._kinds, {}
        return [line for kind in kinds.values() for line in _rest(kind)]


def _rest(kind: _Kind) -> list[Fields]:
    if kind.last is None:
        return []
    return [{**kind.last, "more": kind.count - 1} if kind.count > 1 else kind.last]
