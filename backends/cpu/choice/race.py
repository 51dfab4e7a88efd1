"""Which search is the faster one here: each in turn for a chunk, many turns, and the best chunk of each counts.

A busy neighbour, a scheduler or a hypervisor can only slow a chunk down, and takes its time at random. The shortest of
many is what the processor can do. Time is the thread's own: what hash threads beside it take does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

import native
from backends.base import NONCES
from backends.cpu.search import Search

MIDSTATES = (1, 4, 8, 16, 32)
TURNS = 30
CHUNK_S = 0.0015
_FIRST = 64  # nonces: a search a hundred times too slow is through with them before anyone waits
_HARD = 1 << 200  # no hits
_VERSION = 0x20000000

Rates = Mapping[str, Mapping[int, float]]  # by the kernel's name and the number of versions: hashes a second


def race(searches: Mapping[str, Search], clock: Callable[[], float] = time.thread_time) -> Rates:
    """The best rate of each search with each number of versions in MIDSTATES."""
    runners = {(name, count): _Runner(search, count, clock) for name, search in searches.items() for count in MIDSTATES}
    for runner in runners.values():
        runner.warm_up()
    for _ in range(TURNS):
        for runner in runners.values():
            runner.run()
    return {name: {count: runners[name, count].best_hps for count in MIDSTATES} for name in searches}


class _Runner:
    def __init__(self, search: Search, midstates: int, clock: Callable[[], float]) -> None:
        versions: Sequence[int] = [_VERSION | number << 13 for number in range(midstates)]
        self._search = search
        self._clock = clock
        self._midstates = midstates
        self._params = search.prepare(bytes(76), versions, _HARD)
        self._hits, self._cancel = np.zeros((midstates, 2), np.uint32), np.zeros(1, np.uint32)
        self._count = _FIRST
        self.best_hps = 0.0

    def warm_up(self) -> None:
        """Find the number of nonces that takes CHUNK_S, growing towards it."""
        while (took_s := self.run()) < CHUNK_S / 2:
            self._count = min(4 * self._count, NONCES)
        self._count = max(int(self._count * CHUNK_S / took_s) // _FIRST * _FIRST, _FIRST)

    def run(self) -> float:
        """Search one chunk; the seconds it took."""
        since = self._clock()
        done, _ = self._search.scan(native.NonceRange(self._params, 0, self._count, self._hits, self._cancel, 0))
        took_s = self._clock() - since
        if took_s > 0:
            self.best_hps = max(self.best_hps, done * self._midstates / took_s)
        return took_s
