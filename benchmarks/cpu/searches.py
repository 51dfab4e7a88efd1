"""Walks through nonces with a search, timed in short chunks, and its hits held against hashlib and chance."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import native
from benchmarks.measure import Spread, rates, within_sigmas
from benchmarks.pace import Pace

NONCES = 1 << 32
TARGET = 1 << 240  # of the most significant word: 2^16, so a hit in about 2^16 hashes
HITS_PER_HASH = ((TARGET >> 224) + 1) / 2**32
CHUNK_S = 0.002  # much shorter than a neighbour's spells; calling a scan costs 8 us
SIGMAS = 5.0
VERSION = 0x20000000
_CALIBRATION_S = 0.04


@dataclass(slots=True)
class Walk:
    """One thread's way through the nonces, onto a new header whenever they are used up."""

    kernel: native.Kernel
    midstates: int
    thread: int
    count: int = 1 << 12
    hashes: int = 0
    found: int = 0
    wrong: int = 0
    _header: int = 0
    _nonce: int = NONCES
    _params: Any = None
    _hits: Any = field(default_factory=lambda: np.empty((1 << 14, 2), np.uint32))
    _cancel: Any = field(default_factory=lambda: np.zeros(1, np.uint32))
    _unchecked: list[tuple[int, Any]] = field(default_factory=list)

    def step(self) -> int:
        """Scan one chunk; the hashes done. Its hits are checked later, when no clock runs."""
        if self._nonce >= NONCES:
            self._header, self._nonce = self._header + 1, 0
            self._params = native.prepare(self.kernel, self._prefix(self._header), self._versions(), TARGET)
        count = min(self.count, NONCES - self._nonce)
        nonces = native.NonceRange(self._params, self._nonce, count, self._hits, self._cancel, 0)
        done, found = native.scan(self.kernel, nonces)
        self._nonce += done
        self.hashes += done * self.midstates
        if found:
            self._unchecked.append((self._header, self._hits[:found].copy()))
        return done * self.midstates

    def check(self) -> None:
        """Count the hits since the last time, and those among them that hashlib does not confirm."""
        for header, hits in self._unchecked:
            self.found += len(hits)
            self.wrong += sum(not self._confirmed(header, int(nonce), int(row)) for nonce, row in hits)
        self._unchecked.clear()

    def calibrate(self) -> None:
        """Choose chunks of about CHUNK_S."""
        rate = Spread.of(rates(self.step, _CALIBRATION_S)).median
        self.count = max(int(rate * CHUNK_S / self.midstates), self.kernel.lanes)

    def _versions(self) -> Sequence[int]:
        return range(VERSION, VERSION + (self.midstates << 13), 1 << 13)  # the bits that BIP 320 sets free

    def _prefix(self, header: int) -> bytes:
        return struct.pack("<IQQ56x", VERSION, self.thread, header)

    def _confirmed(self, header: int, nonce: int, row: int) -> bool:
        text = struct.pack("<I", self._versions()[row]) + self._prefix(header)[4:] + struct.pack("<I", nonce)
        digest = hashlib.sha256(hashlib.sha256(text).digest()).digest()
        return int.from_bytes(digest, "little") >> 224 <= TARGET >> 224


class Trial:
    """One kernel with one number of threads and of midstates.

    rates: hashes per second of all threads, a sample for what they did at about the same time. clock: hertz of one.
    """

    def __init__(self, kernel: native.Kernel, threads: int, midstates: int) -> None:
        self.kernel, self.threads, self.midstates = kernel, threads, midstates
        self.rates: list[float] = []
        self.clock: list[float] = []
        self._pace = Pace()
        self._walks = [Walk(kernel, midstates, thread) for thread in range(threads)]
        self._walks[0].calibrate()
        for walk in self._walks[1:]:
            walk.count = self._walks[0].count

    def go(self, seconds: float) -> None:
        """One turn: every thread looks at its clock, then hashes for so long."""
        with ThreadPoolExecutor(self.threads) as pool:
            turns = list(pool.map(lambda walk: (self._pace.sample(), rates(walk.step, seconds)), self._walks))
        self.clock += [clock for clock, _ in turns]
        self.rates += [sum(together) for together in zip(*(samples for _, samples in turns), strict=False)]
        for walk in self._walks:
            walk.check()

    def hits(self) -> dict[str, Any]:
        """Found, expected by chance, false ones; "right" if nothing speaks against the kernel."""
        found = sum(walk.found for walk in self._walks)
        wrong = sum(walk.wrong for walk in self._walks)
        expected = sum(walk.hashes for walk in self._walks) * HITS_PER_HASH
        right = not wrong and within_sigmas(found, expected, SIGMAS)
        return {"found": found, "expected": expected, "wrong": wrong, "right": right}
