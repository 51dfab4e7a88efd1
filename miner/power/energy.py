"""Energy from readings: watts are integrated, counters are differenced, and a gap is a gap, not a zero.

One `Energy` belongs to one meter. Whatever the readings do, its joules never fall, and it never counts what it did
not see: times without readings are summed in `gap_s` instead, so that whoever divides by time can leave them out.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_GAP_S = 30.0  # between two readings in watts that are still joined by a line
MOST_W = 100_000.0  # beyond anything that one meter of ours measures: more is nonsense
_BOUND_J = 1e16  # a farm of 30 MW in ten years


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    watts: float | None
    joules: float | None


class Energy:
    """The joules of one meter since its first reading. Times are seconds of a clock that never goes back.

    `most_w`: what it can at most measure. It tells nonsense, and how long a counter may go unread before it may have
    gone round unseen.
    """

    def __init__(self, *, longest_gap_s: float = LONGEST_GAP_S, most_w: float = MOST_W) -> None:
        self._longest_gap_s = longest_gap_s
        self._most_w = most_w
        self._last: _Reading | None = None
        self.joules: float | None = None  # None until two readings enclose a stretch of time
        self.watts: float | None = None  # by the last reading, or over the last stretch of a counter
        self.gap_s = 0.0

    def power(self, at: float, watts: float) -> None:
        """A reading in watts; joined to the one before by a line. Nonsense is a gap: negative, huge, not a number."""
        if not 0 <= watts <= self._most_w:  # false for what is no number, too
            self.lost(at)
            return
        before = self._turn(_Reading(at, watts, None))
        if before is None:
            return
        if before.watts is None or at - before.at > self._longest_gap_s:
            self.gap_s += at - before.at
        else:
            self._add((watts + before.watts) / 2 * (at - before.at))
        self.watts = watts

    def counter(self, at: float, joules: float, range_j: float | None = None, step_j: float = 0.0) -> None:
        """A reading of a counter that starts again at 0 when it passes `range_j`, or never does (None).

        What a counter counted while nobody looked is not lost, unless it may have gone round meanwhile or was reset.
        `step_j`: what it counts in; a coarse one stands still for long and then jumps.
        """
        if not 0 <= joules <= (_BOUND_J if range_j is None else range_j):
            self.lost(at)
            return
        before = self._turn(_Reading(at, None, joules))
        if before is None:
            return
        span_s = at - before.at
        grown = None if before.joules is None else joules - before.joules
        if grown is not None and range_j is not None:
            grown = grown % range_j if span_s * self._most_w < range_j else None
        if grown is None or not 0 <= grown <= self._most_w * span_s + step_j:
            self.gap_s += span_s
            self.watts = None
        else:
            self._add(grown)
            self.watts = grown / span_s

    def lost(self, at: float) -> None:
        """The meter could not be read: what it draws now is not known."""
        self.watts = None
        last = self._last
        if last is not None and last.watts is not None and at > last.at:
            # A line across the failure would be an invention; a counter goes on counting and may bridge it.
            self.gap_s += at - last.at
            self._last = _Reading(at, None, None)

    def _turn(self, reading: _Reading) -> _Reading | None:
        """Remember this reading; the one before, if any stretch of time lies between them."""
        before = self._last
        if before is not None and reading.at <= before.at:
            return None
        self._last = reading
        if before is None:
            self.watts = reading.watts
        return before

    def _add(self, joules: float) -> None:
        self.joules = (self.joules or 0.0) + joules
