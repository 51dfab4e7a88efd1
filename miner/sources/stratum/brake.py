"""A brake on log lines that a pool can cause as often as it likes.

Of each event, the first LINES lines within WINDOW_S seconds pass. Later lines are counted, and the next line of the
event that passes carries their number in the field `left_out`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LINES = 10
WINDOW_S = 60.0


@dataclass(slots=True)
class _Event:
    passed_at: deque[float] = field(default_factory=lambda: deque(maxlen=LINES))
    left_out: int = 0


class Brake:
    """The brake of one pool, over all of its connections. Times are seconds on a monotonic clock."""

    def __init__(self) -> None:
        self._events: dict[str, _Event] = {}  # by name; the names are ours, so they are few

    def passes(self, name: str, now: float) -> dict[str, int] | None:
        """Return the fields to add to a line of this event, or None if the line must be left out."""
        event = self._events.setdefault(name, _Event())
        if len(event.passed_at) == LINES and now - event.passed_at[0] < WINDOW_S:
            event.left_out += 1
            return None
        event.passed_at.append(now)
        left_out, event.left_out = event.left_out, 0
        return {"left_out": left_out} if left_out else {}
