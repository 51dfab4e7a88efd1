"""How long answers took, as a histogram: frozen counts, so that a reader in any thread sees one moment.

The bounds reach from a pool in the same hall to one that is about to be given up; each is counted once here, and
added up from the lowest where a format wants that (Prometheus: practices/histograms).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Self

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, inf)


@dataclass(frozen=True, slots=True)
class Latencies:
    """Counts by the lowest bound that is not exceeded, and the sum of all latencies in seconds."""

    counts: tuple[int, ...] = (0,) * len(BOUNDS_S)
    sum_s: float = 0.0

    def taken(self, latency_s: float) -> Self:
        """Return the histogram with one more latency."""
        place = bisect_left(BOUNDS_S, latency_s)
        counts = (*self.counts[:place], self.counts[place] + 1, *self.counts[place + 1 :])
        return type(self)(counts, self.sum_s + latency_s)

    def cumulative(self) -> Iterator[tuple[float, int]]:
        """Each bound, and how many took no longer; infinity, and so all of them, last."""
        return zip(BOUNDS_S, accumulate(self.counts), strict=True)
