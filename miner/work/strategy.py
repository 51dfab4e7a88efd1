"""Strategies: which of the ready sources is mined. They treat pools and nodes alike and have no clock.

Failover, over sources in order of preference:

      the best that is ready ----lost----> the next best that is ready
              ^                                     |
              +---- ready for `settle_s` seconds <--+

Quota, over sources with weights, looked at again every `slice_s`:

      each ready source is owed its part of the hashes done for all of them; the largest (owed - done) is next

Rotate: the next one in order that is ready, every `period_s` and whenever the present one is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

SETTLE_S = 60.0
SLICE_S = 0.2  # the least time on one source while several have a quota; shorter than the tick that looks at it
PERIOD_S = 3600.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source as a strategy sees it, in order of preference."""

    name: str
    ready: bool  # up, and it has sent a job since
    hashes: int = 0  # done on its leases so far


# (candidates in order of preference, seconds) -> the name of the source to mine on; None: no source
Strategy = Callable[[Sequence[Candidate], float], str | None]


def first_ready(candidates: Sequence[Candidate], now: float) -> str | None:  # noqa: ARG001  no time passes here
    """The preferred one that is ready, at once."""
    return next((candidate.name for candidate in candidates if candidate.ready), None)


@dataclass(slots=True)
class Failover:
    """Leave a lost source at once. Return to it only when it has been ready for `settle_s` seconds.

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


@dataclass(slots=True)
class Quota:
    """Expected work in proportion to weights: the next slice goes to the source with the largest deficit of hashes.

    Only ready sources share the hashes. A source that is away is owed nothing meanwhile: its part goes to the others in
    proportion and is not made up for later, since nobody paid for that time. It keeps only the deficit that it had when
    it left: a slice, or hashes that devices had not reported yet.

    A source of weight 0 is a reserve: the first ready one is mined while no source with a weight is ready. A source
    without an entry has weight 1. `weights` may be replaced at any time; deficits stay.
    """

    weights: Mapping[str, float]
    slice_s: float = SLICE_S
    _counted: dict[str, int] = field(default_factory=dict)  # hashes, at the last look
    _deficit: dict[str, float] = field(default_factory=dict)  # hashes
    _active: str | None = None
    _since: float = 0.0

    def __call__(self, candidates: Sequence[Candidate], now: float) -> str | None:
        sharing = {
            candidate.name: weight
            for candidate in candidates
            if candidate.ready and (weight := self.weights.get(candidate.name, 1.0)) > 0
        }
        self._even_out(candidates, sharing)
        if not sharing:
            self._active = first_ready(candidates, now)
        elif self._active not in sharing or now - self._since >= self.slice_s:
            self._active, self._since = max(sharing, key=lambda name: (self._deficit[name], sharing[name])), now
        return self._active

    def _even_out(self, candidates: Sequence[Candidate], sharing: Mapping[str, float]) -> None:
        """Add the hashes done since the last look: subtract each source's own, add each source's part of the sum."""
        added = {each.name: each.hashes - self._counted.get(each.name, each.hashes) for each in candidates}
        self._counted = {each.name: each.hashes for each in candidates}
        self._deficit = {each.name: self._deficit.get(each.name, 0.0) for each in candidates}
        per_weight = sum(added[name] for name in sharing) / (sum(sharing.values()) or 1.0)
        for name, weight in sharing.items():
            self._deficit[name] += weight * per_weight - added[name]


@dataclass(slots=True)
class Rotate:
    """Mine every source in turn, each for `period_s`. A source that is not ready is skipped."""

    period_s: float = PERIOD_S
    _active: str | None = None
    _since: float = 0.0

    def __call__(self, candidates: Sequence[Candidate], now: float) -> str | None:
        names = [candidate.name for candidate in candidates]
        turn = names.index(self._active) if self._active in names else -1
        in_turn = [*candidates[turn + 1 :], *candidates[: turn + 1]]  # the present one comes last
        present_is_ready = turn >= 0 and candidates[turn].ready
        if not present_is_ready or now - self._since >= self.period_s:
            chosen = first_ready(in_turn, now)
            if chosen is not None:
                self._active, self._since = chosen, now
            return chosen
        return self._active
