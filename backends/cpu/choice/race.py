"""Races searches against each other: each runs a chunk in turn, for many turns, and its best chunk counts.

A busy neighbour, a scheduler or a hypervisor can only slow a chunk down, at random times. The shortest of many chunks
is the speed of the processor. The clock counts this thread's time only, so hash threads beside it do not matter.
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
_FIRST = 64  # nonces, few enough even for a search that is a hundred times too slow
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
        """Search one chunk and return the seconds that it took."""
        since = self._clock()
        done, _ = self._search.scan(native.NonceRange(self._params, 0, self._count, self._hits, self._cancel, 0))
        took_s = self._clock() - since
        if took_s > 0:
            self.best_hps = max(self.best_hps, done * self._midstates / took_s)
        return took_s
