"""Hash rates: from work done, from what valid hits prove, and how likely luck explains a count.

A device says how many hashes it did; its hits prove it: a hit takes 2^256 / (target + 1) hashes on average. Hits are
a Poisson process, so the proof of n hits is uncertain by 1/sqrt(n), and nothing is concluded from few.
No clock in here: `now` is seconds, monotonic, and never runs backwards by more than the caller's threads race.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

WINDOWS_S: Final = (10, 60, 900)
_SPACE = 1 << 256
_GRAINS = 1 << 16  # a hash is counted in grains, to sum up the work of hits in integers


def hits_due(hashes: int, target: int) -> float:
    """How many hits at this target `hashes` hashes give on average."""
    return hashes * (target + 1) / _SPACE


def chance(found: float, due: float) -> float:
    """At most how likely it is to find `found` events or fewer (or more, if it is above) where `due` are expected.

    Chernoff's bound for a Poisson count, so never too small: an alarm raised on it is not a coincidence.
    """
    if due <= 0:
        return 1.0 if found <= 0 else 0.0
    return math.exp(found - due - (found * math.log(found / due) if found > 0 else 0.0))


class Windows:
    """A running total that remembers itself at each of the last 900 seconds: any window's sum in constant time."""

    def __init__(self) -> None:
        self.total = 0
        self._began: float | None = None
        self._second = 0  # the newest for which a total was noted
        self._notes = [0] * (max(WINDOWS_S) + 1)  # total at the beginning of second s, at index s modulo the length

    def begin(self, now: float) -> None:
        """Time runs from here; without it, from the first `add`."""
        if self._began is None:
            self._began = now
            self._second = math.floor(now)

    def add(self, now: float, amount: int) -> None:
        self.begin(now)
        self._advance(now)
        self.total += amount

    def sum(self, now: float, window_s: int) -> tuple[int, float]:
        """What was added in the last `window_s` seconds (one of WINDOWS_S), and how many seconds that really spans.

        The span is up to a second longer than asked for, and shorter while time has not run that long.
        """
        if self._began is None:
            return 0, 0.0
        self._advance(now)
        start = self._second - window_s  # by the newest time heard of: older notes are overwritten
        if start <= self._began:
            return self.total, max(0.0, now - self._began)
        return self.total - self._notes[start % len(self._notes)], now - start

    def rate(self, now: float, window_s: int) -> float | None:
        """Per second over the window; None until a second has passed."""
        amount, span_s = self.sum(now, window_s)
        return amount / span_s if span_s >= 1.0 else None

    def _advance(self, now: float) -> None:
        size = len(self._notes)
        second = math.floor(now)
        for later in range(max(self._second + 1, second - size + 1), second + 1):
            self._notes[later % size] = self.total
        self._second = max(self._second, second)


@dataclass(frozen=True, slots=True)
class Measured:
    """The rate that valid hits prove, as an outsider would estimate it."""

    hps: float
    hits: float  # how many hits of equal weight would be as certain
    span_s: float

    @property
    def sigma(self) -> float:
        """One standard deviation, relative to the rate."""
        return 1 / math.sqrt(self.hits)


class HitMeter:
    """Measures a rate by hits of any mix of targets, over the longest window."""

    def __init__(self) -> None:
        self._work = Windows()
        self._squares = Windows()  # the variance of a sum of hits is the sum of their squares

    def begin(self, now: float) -> None:
        self._work.begin(now)
        self._squares.begin(now)

    def hit(self, now: float, target: int) -> None:
        """Count a valid hit on work with this target."""
        work = _SPACE * _GRAINS // (target + 1)
        self._work.add(now, work)
        self._squares.add(now, work * work)

    def measured(self, now: float) -> Measured | None:
        """None before the first hit."""
        work, span_s = self._work.sum(now, WINDOWS_S[-1])
        squares, _ = self._squares.sum(now, WINDOWS_S[-1])
        if not work or span_s < 1.0:
            return None
        return Measured(work / _GRAINS / span_s, work * work / squares, span_s)

    @property
    def proven(self) -> float:
        """Hashes proven by every hit so far."""
        return self._work.total / _GRAINS
