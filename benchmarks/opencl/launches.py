"""An OpenCL search at work: two launches in flight, hits confirmed by hashlib, their number held against chance."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from backends.base import NONCES
from backends.opencl.worker.reference import hits_by_hashlib
from backends.opencl.worker.search import IN_FLIGHT, Job, Outcome, Search, Ticket
from benchmarks.measure import within_sigmas

TARGET = (1 << 240) - 1  # a hit in 65536 hashes
SIGMAS = 5


class Walk:
    """A search at work, as a miner's worker keeps it."""

    def __init__(self, search: Search, job: Job) -> None:
        self._search, self._job = search, job
        self._flying: list[Ticket] = []
        self._nonce = 0
        self.outcomes: list[Outcome] = []
        self.processor_s = 0.0  # of the last `go`, in this thread, without what the sensors took

    @property
    def hashes(self) -> int:
        return sum(x.hashes for x in self.outcomes)

    def forget(self) -> None:
        self.outcomes.clear()

    def go(self, seconds: float, sensors: Callable[[], dict[str, float]] = dict) -> list[dict[str, float]]:
        """Search for so long and to the end of what is in flight; what the sensors said once a second."""
        readings, begun, read = [], time.perf_counter(), 0.0
        self.processor_s = -time.thread_time()
        while (now := time.perf_counter() - begun) < seconds or self._flying:
            if now - read >= 1:
                read = now
                self.processor_s += time.thread_time()
                readings.append(sensors())
                self.processor_s -= time.thread_time()
            while len(self._flying) < IN_FLIGHT and now < seconds:
                count = self._search.nonces(self._job)
                if self._nonce + count > NONCES:
                    self._nonce = 0
                self._flying.append(self._search.launch(self._job, self._nonce, count))
                self._nonce += count
            self.outcomes.append(self._search.collect(self._flying.pop(0)))
        self.processor_s += time.thread_time()
        return readings

    def hits(self) -> dict[str, Any]:
        """Found, expected by chance, false ones; "right" if nothing speaks against the search."""
        found = [hit for x in self.outcomes for hit in x.hits]
        checked = found[:: max(len(found) // 10_000, 1)]
        wrong = sum(
            (nonce, version) not in hits_by_hashlib(self._job.header76, [version], self._job.target, [nonce])
            for nonce, version in checked
        )
        expected = self.hashes * (self._job.target + 1) / 2**256
        return {
            "found": len(found),
            "expected": expected,
            "wrong": wrong,
            "right": not wrong and within_sigmas(len(found), expected, SIGMAS),
        }
