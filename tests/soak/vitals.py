"""What a process holds, as the kernel counts it (proc(5)), and whether that grows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

MIB = 1 << 20
LONG_S = 1200.0  # a shorter run says little: tables still fill up to their bounds
GROWTH_LIMIT = {True: 6 * MIB, False: 24 * MIB}  # bytes over the second half of a long run, of a short one
SPARE_FILES, SPARE_THREADS = 4, 4  # above the first half's most: one more connection, one more look-up


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    at: float
    resident: int  # bytes
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int, at: float) -> Self:
        """Raises OSError where there is no such process any more."""
        proc = Path("/proc") / str(pid)
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        if "VmRSS" not in status:
            raise ProcessLookupError(pid)
        files = len(list((proc / "fd").iterdir()))
        return cls(at, int(status["VmRSS"].split()[0]) * 1024, files, int(status["Threads"]))


def growth_bytes(samples: Sequence[Sample]) -> float:
    """How much memory grew over the second half: the slope of a straight line through it, times its length."""
    half = samples[len(samples) // 2 :]
    if len(half) < 2:
        return 0.0
    line = statistics.linear_regression([x.at for x in half], [float(x.resident) for x in half])
    return line.slope * (half[-1].at - half[0].at)


def complaints(samples: Sequence[Sample]) -> list[str]:
    """What is not steady, in words."""
    if len(samples) < 4:
        return ["the miner was looked at less than four times"]
    found = []
    growth = growth_bytes(samples)
    limit = GROWTH_LIMIT[samples[-1].at - samples[0].at >= LONG_S]
    if growth > limit:
        found.append(f"memory grew by {growth / MIB:.1f} MiB over the second half; {limit / MIB:.0f} may be chance")
    first, second = samples[: len(samples) // 2], samples[len(samples) // 2 :]
    for what, spare in (("files", SPARE_FILES), ("threads", SPARE_THREADS)):
        before, after = (max(getattr(x, what) for x in half) for half in (first, second))
        if after > before + spare:
            found.append(f"open {what} rose from {before} to {after}")
    return found
