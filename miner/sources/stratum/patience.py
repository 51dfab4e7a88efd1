"""How long a pool may leave everything unanswered while shares are on their way to it. Knows no socket and no clock.

    max(LEAST_S, FACTOR times the slowest of the last ANSWERS answers to shares)

Every answer to any request of ours counts as a sign of life; jobs and other notifications do not, for a pool whose
receiving half has died goes on sending them. Shares that are held back are not on their way. A pool is not asked
anything only to hear an answer: many hang up on a method they do not know, and the shares themselves ask enough. The
rule sees through proxies, which keep a connection open whose other end is dead.

A pool that answers no share of a connection is given twice as long on the next one, up to LONGEST_S, so that a pool
which takes longer than LEAST_S from its first answer on is left once and not for ever.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

LEAST_S = 20.0
LONGEST_S = 120.0  # for a pool whose latency is not known; shares wait no longer than that
FACTOR = 4.0
ANSWERS = 100
STEP_S = 1.0  # the most that one look counts: after a longer gap this process stood still, and not the pool


@dataclass(slots=True)
class Patience:
    """With one pool, over all of its connections. Times are seconds on a monotonic clock."""

    _latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=ANSWERS))
    _lost_in_a_row: int = 0  # connections that were left, without an answer to a share since
    _answers: int = 0  # of the present connection, at the last look
    silent_s: float = 0.0  # how long nothing was answered while shares were under way
    _looked_at: float | None = None

    @property
    def limit_s(self) -> float:
        """For how long everything may stay unanswered."""
        unknown_s = min(LEAST_S * 2.0**self._lost_in_a_row, LONGEST_S)
        return max(unknown_s, FACTOR * max(self._latencies_s, default=0.0))

    def begin(self) -> None:
        """A new connection stands."""
        self._answers, self.silent_s, self._looked_at = 0, 0.0, None

    def answered(self, latency_s: float) -> None:
        """Note that the pool answered a share, `latency_s` seconds after the share was sent."""
        self._latencies_s.append(latency_s)
        self.silent_s = 0.0
        self._lost_in_a_row = 0

    def ends(self, now: float, *, answers: int, under_way: int) -> bool:
        """Look, a few times a second: whether the connection must be left now.

        `answers`: how many of our requests were answered on this connection; `under_way`: shares without an answer.
        """
        passed_s = 0.0 if self._looked_at is None else min(now - self._looked_at, STEP_S)
        self._looked_at = now
        if not under_way or answers != self._answers:
            self._answers, self.silent_s = answers, 0.0
            return False
        self.silent_s += passed_s
        if self.silent_s < self.limit_s:
            return False
        self._lost_in_a_row = min(self._lost_in_a_row + 1, 16)
        return True
