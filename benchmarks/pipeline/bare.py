"""The bare search in a plain loop: what the whole program is measured against.

A process of its own: `python -m benchmarks.pipeline.bare STATE SECONDS THREADS`. Kernel, cache, cores,
priority, versions together and length of chunks are the CPU backend's; there are no jobs, no hits, and nothing else.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import native
from backends import kernels
from backends.cpu import cores
from backends.cpu.choice.forge import forged
from backends.cpu.choice.workshop import Workshop
from backends.cpu.priority import Priority, give_way
from backends.cpu.search import Search
from backends.cpu.topology import survey
from backends.duty import SLICE_S

STATE_HELP = "a state folder whose compiled and measured kernels are used (a new one: minutes of measuring first)"
_WARM_UP = 1 << 20
_HARD = 1 << 200  # no hits


@dataclass(frozen=True, slots=True)
class Bare:
    """What the loop did."""

    hashes: int
    by_clock_hps: float  # of all threads
    by_own_time_hps: float  # of one processor


def measure(state: Path, seconds: float, threads: int) -> Bare:
    """Run the loop in a process of its own; subprocess.CalledProcessError if that fails."""
    command = [sys.executable, "-m", "benchmarks.pipeline.bare", str(state), str(seconds), str(threads)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return Bare(**json.loads(answer.stdout))


def search(state: Path) -> Search:
    """The search that the program comes to use with this state folder, chosen now if it was not before."""
    return forged(Workshop(kernels.candidates(), kernels.open_cache(state, native.host_features()), cores.model()))


def _loop(search: Search, core: int | None, seconds: float, together: threading.Barrier) -> tuple[int, ...]:
    """Hashes, and nanoseconds of the clock and of a processor that they took."""
    give_way(Priority.LOW)
    if core is not None:
        os.sched_setaffinity(0, {core})
    versions = [0x20000000 | n << 13 for n in range(search.midstates)]
    params = search.prepare(bytes(76), versions, _HARD)
    hits, cancel = np.empty((256, 2), np.uint32), np.zeros(1, np.uint32)
    begun = time.thread_time()
    search.scan(native.NonceRange(params, 0, _WARM_UP // len(versions), hits, cancel, 0))
    count = max(int(_WARM_UP // len(versions) * SLICE_S / (time.thread_time() - begun)) // 4096 * 4096, 4096)
    together.wait()
    hashes, start = 0, 0
    clock, processor = time.perf_counter_ns(), time.thread_time_ns()
    end = clock + int(seconds * 1e9)
    while time.perf_counter_ns() < end:
        start = start + count if start + 2 * count <= 1 << 32 else 0
        hashes += search.scan(native.NonceRange(params, start, count, hits, cancel, 0))[0] * len(versions)
    return hashes, time.perf_counter_ns() - clock, time.thread_time_ns() - processor


def _main(state: str, seconds: str, threads: str) -> None:
    found = search(Path(state))
    placement = cores.placement(int(threads), [core.number for core in survey(cores.affinity())])
    together = threading.Barrier(int(threads))
    with ThreadPoolExecutor(int(threads)) as pool:
        loops = [pool.submit(_loop, found, core, float(seconds), together) for core in placement]
        results = [loop.result() for loop in loops]
    bare = Bare(
        hashes=sum(hashes for hashes, _, _ in results),
        by_clock_hps=sum(1e9 * hashes / clock for hashes, clock, _ in results),
        by_own_time_hps=sum(hashes for hashes, _, _ in results) * 1e9 / sum(own for _, _, own in results),
    )
    print(json.dumps(asdict(bare)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
