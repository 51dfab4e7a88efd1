"""Rates as they are measured: smoothed from one measurement to the next, and compared up to their noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

_SMOOTHING = 0.2  # the weight of the last of many measurements


def smoothed(before: float | None, measured: float) -> float:
    """The average so far after one more measurement; without one before, the measurement itself."""
    return measured if before is None else before + _SMOOTHING * (measured - before)


def first_of_the_best(rates: Mapping[T, float], noise: float) -> T:
    """The first of the candidates whose rate differs from the best by `noise` (a share of it) at most.

    Raises ValueError without candidates.
    """
    best = max(rates.values())
    return next(candidate for candidate, rate in rates.items() if rate >= best * (1 - noise))
