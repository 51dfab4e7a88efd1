"""How fast each search hashes on this processor, and how soon after the start it can.

Kernels take turns in short rounds, so that a neighbour's spell of work falls on all of them. What they report is
checked as it comes: each hit by hashlib, their number against chance.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import struct
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

import native
from backends import cpu
from benchmarks import machine, report
from benchmarks.measure import Spread, rates, within_sigmas

NONCES = 1 << 32
TARGET = 1 << 240  # of the most significant word: 2^16, so a hit in about 2^16 hashes
HITS_PER_HASH = ((TARGET >> 224) + 1) / 2**32
CHUNK_S = 0.004  # much shorter than what a scheduler takes away at once
ROUNDS = 5
SIGMAS = 5.0
VERSION = 0x20000000

_START = """
import sys, time
begun = time.perf_counter()
import native
from backends import cpu
from pathlib import Path
cache = cpu.open_cache(Path(sys.argv[1]), native.host_features())
candidate = next(x for x in cpu.candidates() if x.name == sys.argv[2])
cpu.load(candidate, cache)
print(time.perf_counter() - begun)
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="for each kernel and number of threads (%(default)s)"
    )
    parser.add_argument("--threads", type=_numbers, default=[1], metavar="N,N", help="numbers of threads (1)")
    parser.add_argument("--midstates", type=_numbers, default=[1], metavar="N,N", help="versions hashed together (1)")
    parser.add_argument("--kernels", type=_names, metavar="NAME,NAME", help="these kernels only")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure the kernels that the options name, or all that run here; "wrong" is true if one miscounts."""
    candidates = cpu.candidates()
    for candidate in candidates:
        if candidate.unusable:
            console.print(f"{candidate.name}: not here, {candidate.unusable}")
    chosen = [x for x in candidates if x.unusable is None and x.name in (options.kernels or [x.name])]
    if not chosen:
        console.print(f"no such kernel here; there are {', '.join(x.name for x in candidates)}")
        return {"kernels": [], "wrong": True}
    report.warn(console, machine.load_before())
    settings = list(itertools.product(options.threads, options.midstates))
    with report.progress(console) as progress, tempfile.TemporaryDirectory() as state:
        starts = _time_starts(chosen, progress)
        cache = cpu.open_cache(Path(state), native.host_features())
        kernels = [cpu.load(candidate, cache) for candidate in chosen]
        runs = [Run(kernel, *setting) for kernel in kernels for setting in settings]
        begun = machine.Clock.now()
        task = progress.add_task("hashing", total=ROUNDS * len(runs))
        for _, turn in itertools.product(range(ROUNDS), runs):
            turn.go(options.seconds / ROUNDS)
            progress.advance(task)
        disturbances = machine.disturbances(begun)
    report.warn(console, disturbances)
    results = [turn.result() | starts[turn.kernel.name] for turn in runs]
    _show(console, results)
    return {"kernels": results, "disturbances": disturbances, "wrong": not all(x["hits"]["right"] for x in results)}


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

    def step(self) -> int:
        """Scan one chunk and check its hits; the hashes done."""
        if self._nonce >= NONCES:
            self._header, self._nonce = self._header + 1, 0
            self._params = native.prepare(self.kernel, self._prefix(), self._versions(), TARGET)
        count = min(self.count, NONCES - self._nonce)
        done, found = native.scan(self.kernel, self._params, self._nonce, count, self._hits, self._cancel, 0)
        self._nonce += done
        self.hashes += done * self.midstates
        self.found += found
        self.wrong += sum(not self._confirmed(int(nonce), int(row)) for nonce, row in self._hits[:found])
        return done * self.midstates

    def calibrate(self) -> None:
        """Choose chunks of about CHUNK_S."""
        rate = Spread.of(rates(self.step, 10 * CHUNK_S)).median
        self.count = max(int(rate * CHUNK_S / self.midstates), self.kernel.lanes)

    def _versions(self) -> Sequence[int]:
        return range(VERSION, VERSION + (self.midstates << 13), 1 << 13)  # the bits that BIP 320 sets free

    def _prefix(self) -> bytes:
        return struct.pack("<IQQ56x", VERSION, self.thread, self._header)

    def _confirmed(self, nonce: int, row: int) -> bool:
        header = struct.pack("<I", self._versions()[row]) + self._prefix()[4:] + struct.pack("<I", nonce)
        digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
        return int.from_bytes(digest, "little") >> 224 <= TARGET >> 224


class Run:
    """One kernel with one number of threads and of midstates."""

    def __init__(self, kernel: native.Kernel, threads: int, midstates: int) -> None:
        self.kernel = kernel
        self._walks = [Walk(kernel, midstates, thread) for thread in range(threads)]
        self._midstates = midstates
        self._samples: list[float] = []
        self._walks[0].calibrate()
        for walk in self._walks[1:]:
            walk.count = self._walks[0].count

    def go(self, seconds: float) -> None:
        """One round. A sample is what all threads did at about the same time."""
        with ThreadPoolExecutor(len(self._walks)) as pool:
            per_thread = list(pool.map(lambda walk: rates(walk.step, seconds), self._walks))
        self._samples += [sum(together) for together in zip(*per_thread, strict=False)]

    def result(self) -> dict[str, Any]:
        found = sum(walk.found for walk in self._walks)
        wrong = sum(walk.wrong for walk in self._walks)
        expected = sum(walk.hashes for walk in self._walks) * HITS_PER_HASH
        layout = self.kernel.layout
        return {
            "name": self.kernel.name,
            "lanes": self.kernel.lanes,
            "threads": len(self._walks),
            "midstates": self._midstates,
            "slots": self.kernel.slots,
            "operations_per_hash": layout.own.total + layout.shared.total / self._midstates,
            "two_operand_operations_per_hash": layout.own.two_operand_total
            + layout.shared.two_operand_total / self._midstates,
            "hashes_per_second": Spread.of(self._samples).as_json(),
            "hits": {
                "found": found,
                "expected": expected,
                "wrong": wrong,
                "right": not wrong and within_sigmas(found, expected, SIGMAS),
            },
        }


def _time_starts(chosen: list[cpu.Candidate], progress: Progress) -> dict[str, dict[str, float]]:
    """From importing native to a proven kernel, in a process of its own: compiled, then from the cache."""
    task = progress.add_task("starting", total=2 * len(chosen))
    starts = {}
    for candidate in chosen:
        times = {}
        with tempfile.TemporaryDirectory() as own:
            for key in ("compile_s", "cached_s"):
                command = [sys.executable, "-c", _START, own, candidate.name]
                answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
                times[key] = float(answer.stdout)
                progress.advance(task)
        starts[candidate.name] = times
    return starts


def _show(console: Console, results: list[dict[str, Any]]) -> None:
    columns = [
        "kernel",
        "threads",
        "midstates",
        "median",
        "min",
        "max",
        "p95",
        "hits",
        "expected",
        "ops/hash",
        "cold s",
        "cached s",
    ]
    report.table(console, "millions of hashes per second", columns, [_row(result) for result in results])
    for result in results:
        if not result["hits"]["right"]:
            hits = result["hits"]
            console.print(
                f"[red]{result['name']} is wrong:[/] {hits['found']} hits, {hits['wrong']} of them false,"
                f" where {hits['expected']:.0f} were to be expected"
            )


def _row(result: dict[str, Any]) -> list[str]:
    rate, hits = result["hashes_per_second"], result["hits"]
    return [
        result["name"],
        str(result["threads"]),
        str(result["midstates"]),
        *(report.millions(rate[key]) for key in ("median", "min", "max", "p95")),
        str(hits["found"]),
        f"{hits['expected']:.0f}",
        f"{result['operations_per_hash']:.0f}",
        f"{result['compile_s']:.2f}",
        f"{result['cached_s']:.2f}",
    ]


def _numbers(text: str) -> list[int]:
    numbers = [int(x) for x in text.split(",")]
    if not numbers or min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _names(text: str) -> list[str]:
    return text.split(",")
