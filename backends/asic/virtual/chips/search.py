"""The search behind all virtual chips of a process: the CPU's kernel, loaded when the first job comes.

Threads that search give way to everything else on the machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

import native
from backends import affinity
from backends.kernels import NO_CACHE, KernelCache, candidates, load

from .jobs import HeaderJob, Job

Words = NDArray[np.uint32]

_ROOM = 1024  # hits of one search: the easiest target gives a few dozen
_MEASURED = 1 << 19  # nonces
_NICEST = 19


class Engine:
    """Thread-safe. `rate_hps` and `search` load the kernel first, which may take seconds."""

    def __init__(self, cache: KernelCache = NO_CACHE) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._kernel: native.Kernel | None = None
        self._rate_hps: float | None = None
        self._cancel: Words = np.zeros(1, np.uint32)

    @property
    def rate_hps(self) -> float:
        """Hashes a second of one thread that has a core to itself, measured once."""
        kernel = self._loaded()
        with self._lock:
            if self._rate_hps is None:
                header = HeaderJob(0, bytes(76))
                params = native.prepare(kernel, header.header76, [0], 1)
                hits = np.empty((_ROOM, 2), np.uint32)
                began = time.perf_counter()
                done, _ = native.scan(kernel, native.NonceRange(params, 0, _MEASURED, hits, self._cancel, 0))
                self._rate_hps = done / (time.perf_counter() - began)
            return self._rate_hps

    def search(self, job: Job, rows: Sequence[int], start: int, count: int, target: int) -> list[tuple[int, int]]:
        """The (nonce, row) among these whose hash is at most the target: exact, each confirmed on its own."""
        kernel = self._loaded()
        params = self._prepare(kernel, job, rows, target)
        hits = np.empty((_ROOM, 2), np.uint32)
        found: list[tuple[int, int]] = []
        end = start + count
        while start < end:
            done, number = native.scan(kernel, native.NonceRange(params, start, end - start, hits, self._cancel, 0))
            found += [(int(nonce), rows[int(row)]) for nonce, row in hits[:number]]
            start += done
        return [(nonce, row) for nonce, row in found if job.hash(row, nonce) <= target]

    def _prepare(self, kernel: native.Kernel, job: Job, rows: Sequence[int], target: int) -> Words:
        if isinstance(job, HeaderJob):
            return native.prepare(kernel, job.header76, [job.version(row) for row in rows], target)
        states = np.array([job.states[row] for row in rows], np.uint32)
        return native.fill(kernel, states, job.tail, target)

    def _loaded(self) -> native.Kernel:
        with self._lock:
            if self._kernel is None:
                self._kernel = self._load()
            return self._kernel

    def _load(self) -> native.Kernel:
        refused: list[str] = []
        usable = [candidate for candidate in candidates() if candidate.unusable is None]
        for candidate in sorted(usable, key=lambda one: (not self._cache.holds(one.name), one.compile_s)):
            try:
                return load(candidate, self._cache)
            except native.KernelError as error:
                refused.append(f"{candidate.name}: {error}")
        raise native.UnusableKernelError("virtual chips have no kernel to search with: " + "; ".join(refused))


def give_way() -> None:
    """Put the calling thread behind everybody else, on whichever core; who started it may be bound to one."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICEST)
    with suppress(OSError):  # where that is forbidden nobody was bound
        affinity.spread()
