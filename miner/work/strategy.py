"""Which source is mined on, of those that could be. Other strategies take the same place in the manager.

Failover, over sources in order of preference:

      the best that is ready ----lost----> the next best that is ready
              ^                                     |
              +---- ready for `settle_s` seconds <--+
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

SETTLE_S = 60.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source as a strategy sees it, in order of preference."""

    name: str
    ready: bool  # up, and it has sent a job since


# (candidates in order of preference, seconds) -> the name of the one to mine on; None: none
Strategy = Callable[[Sequence[Candidate], float], str | None]


def first_ready(candidates: Sequence[Candidate], now: float) -> str | None:  # noqa: ARG001  no time passes here
    """The preferred one that is ready, at once."""
    return next((candidate.name for candidate in candidates if candidate.ready), None)


@dataclass(slots=True)
class Failover:
    """Away from a lost source at once; back to one that was lost only when it has been ready for a while.

    At the start the best that is ready is mined, whichever happens to be ready first.
    """

    settle_s: float = SETTLE_S
    _since: dict[str, float] = field(default_factory=dict)  # when each became ready
    _lost: set[str] = field(default_factory=set)  # at least once
    _active: str | None = None

    def __call__(self, candidates: Sequence[Candidate], now: float) -> str | None:
        ready = [candidate.name for candidate in candidates if candidate.ready]
        self._lost |= self._since.keys() - set(ready)
        self._since = {name: self._since.get(name, now) for name in ready}
        if self._active not in ready:
            self._active = ready[0] if ready else None
        else:
            self._active = next(name for name in ready if name == self._active or self._settled(name, now))
        return self._active

    def _settled(self, name: str, now: float) -> bool:
        return name not in self._lost or now - self._since[name] >= self.settle_s
