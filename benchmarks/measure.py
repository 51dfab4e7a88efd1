"""Samples of a rate, and what may be said about them.

A shared machine is noisy in one direction only: a neighbour makes a sample slower, never faster. The median says what
one gets, the 95th percentile what the code can do.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """What a set of samples looks like, in the samples' unit."""

    median: float
    min: float
    max: float
    p95: float
    samples: int

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Raises ValueError without samples."""
        if not samples:
            raise ValueError("no samples")
        p95 = percentile(samples, 0.95)
        return cls(statistics.median(samples), min(samples), max(samples), p95, len(samples))

    def as_json(self) -> dict[str, float]:
        return asdict(self)


def percentile(samples: Sequence[float], share: float) -> float:
    """The smallest sample with more than this share of them below it; the largest if there is none."""
    return sorted(samples)[min(int(share * len(samples)), len(samples) - 1)]


def rates(work: Callable[[], int], seconds: float) -> list[float]:
    """Call `work`, which returns how much it did, over and over for so long; the rate of each call, per second."""
    samples = []
    begun = time.perf_counter()
    now = begun
    while now - begun < seconds:
        amount = work()
        then, now = now, time.perf_counter()
        samples.append(amount / (now - then))
    return samples


def within_sigmas(found: int, expected: float, sigmas: float) -> bool:
    """Whether a Poisson count is as near its expectation as chance allows."""
    return abs(found - expected) <= sigmas * math.sqrt(max(expected, 1.0))
