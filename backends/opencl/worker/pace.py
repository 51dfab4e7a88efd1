"""Chooses the nonces of a launch so that it takes the wanted time."""

from __future__ import annotations

from dataclasses import dataclass

from backends.base import NONCES
from backends.opencl.worker.source import PAIRS

_STEP = 4.0  # the most by which a launch is longer or shorter than the one before: the first are not typical
_HITS = PAIRS / 4  # the most hits that a launch may be expected to have, so that they fit


@dataclass(slots=True)
class Pace:
    """Follows what launches took. quantum: a launch is so many nonces, or a multiple. nonces: a launch's now."""

    launch_s: float
    quantum: int
    nonces: int = 0
    _nonces_a_second: float | None = None

    def __post_init__(self) -> None:
        self.nonces = max(self.nonces, self.quantum)

    def took(self, nonces: int, seconds: float | None) -> None:
        """Learn from a launch. A launch without a possible time is ignored."""
        if seconds is None or seconds <= 0 or nonces < self.nonces // 2:
            return
        self._nonces_a_second = nonces / seconds
        factor = min(max(self.launch_s / seconds, 1 / _STEP), _STEP)
        self.nonces = self._rounded(nonces * factor)

    def expected_s(self, nonces: int) -> float:
        """How long a launch will take at least; 0 as long as nothing is known."""
        return min(nonces / self._nonces_a_second, self.launch_s) if self._nonces_a_second else 0.0

    def for_target(self, versions: int, target: int) -> int:
        """The nonces of a launch whose hits are to fit."""
        return min(self.nonces, self._rounded(_HITS * 2**256 / (target + 1) / versions))

    def _rounded(self, nonces: float) -> int:
        return max(int(min(nonces, NONCES)) // self.quantum * self.quantum, self.quantum)
