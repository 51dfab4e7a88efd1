"""How long to stay away from a pool that was lost: 1 s, doubling to a minute, never in step with other miners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from miner.sources.stratum.effects import Ending

FIRST_S, LONGEST_S = 1.0, 60.0
UNANSWERED_S = 20.0  # at most, to a pool that answers no share: where it is alone, devices wait for this
STABLE_S = 60.0  # a connection that lasted so long makes the next wait short again
REFUSED_S = 60.0  # a user that was refused is not tried more often than this
LEARNT_S = 0.1  # something will be done differently


@dataclass(slots=True)
class Backoff:
    """One pool's; `jitter` answers a number from 0.5 to 1."""

    jitter: Callable[[], float]
    _next: float = FIRST_S

    def wait_s(self, ending: Ending, *, stable_s: float, learnt: bool = False) -> float:
        """Seconds until the next attempt, after a connection that was good for `stable_s` (0: there was none)."""
        if stable_s >= STABLE_S and ending is not Ending.UNANSWERED:
            self._next = FIRST_S
        if learnt:
            return LEARNT_S
        wait = self._next * self.jitter()
        self._next = min(2 * self._next, LONGEST_S)
        if ending is Ending.UNANSWERED:
            return min(wait, UNANSWERED_S)
        return max(wait, REFUSED_S) if ending is Ending.NOT_AUTHORIZED else wait
