"""Hashing for a part of the time only: after each slice of work the thread owes a rest in proportion.

Rests are measured, not assumed: one that was cut short or ran over is made good by the next.
"""

from __future__ import annotations

from dataclasses import dataclass

SLICE_S = 0.05  # of hashing between two looks around, at full duty
PERIOD_S = 0.2  # work and rest together, at low duty: short enough that fans and regulators do not hunt
_SHORTEST_S = 0.002


@dataclass(slots=True)
class DutyCycle:
    """duty: the share of time to hash in, above 0 and up to 1."""

    duty: float
    owed_s: float = 0.0  # negative: rested too long

    @property
    def slice_s(self) -> float:
        """How long to hash in one go."""
        return min(SLICE_S, max(_SHORTEST_S, PERIOD_S * self.duty))

    @property
    def due_s(self) -> float:
        """The rest to take before the next slice; what is too short to be worth it adds up."""
        return self.owed_s if self.owed_s >= _SHORTEST_S else 0.0

    def hashed(self, seconds: float) -> None:
        self.owed_s += seconds * (1 / self.duty - 1)

    def rested(self, seconds: float) -> None:
        self.owed_s = max(self.owed_s - seconds, -PERIOD_S)
