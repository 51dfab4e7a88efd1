"""The processor's clock, measured by work whose cycles are known.

Each operation of a chain waits for the one before it: an addition, an exclusive or, one cycle each on every processor
that this is likely to meet. Operands stand in registers, because newer ones add small constants while renaming, in no
time at all. What a processor says of its clock is no use here: it changes with the load, and guests do not see it.
"""

from __future__ import annotations

import time
from functools import cache
from typing import Any

from numba import njit

CYCLES_PER_STEP = 2
_CHUNK_S = 0.001
_FIRST_STEPS = 100_000


class Pace:
    """Samples of the clock of whatever core the calling thread is on, in hertz."""

    def __init__(self) -> None:
        self._chain = _compiled()
        self._steps = max(int(self._sample(_FIRST_STEPS) * _CHUNK_S) // CYCLES_PER_STEP, _FIRST_STEPS)

    def sample(self) -> float:
        """About a millisecond of it; releases the GIL."""
        return self._sample(self._steps)

    def _sample(self, steps: int) -> float:
        begun = time.perf_counter()
        self._chain(steps, 0x9E37)
        return steps * CYCLES_PER_STEP / (time.perf_counter() - begun)


@cache
def _compiled() -> Any:
    """Compiled when it is asked for, after the kernels: numba takes the CPU features of whoever comes first."""
    return njit("uint64(int64, uint64)", nogil=True)(_chain)


def _chain(steps: Any, other: Any) -> Any:
    x = other
    for _ in range(steps):
        x = (x + other) ^ other
    return x
