"""Which cores this process may use, and how much of them: affinity, and the CPU quota of its control group.

Sources: cgroups(7) and the kernel's admin-guide for both hierarchies (v2 `cpu.max`; v1 `cpu.cfs_quota_us`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def affinity() -> list[int]:
    """The numbers of the cores that the scheduler may put us on, in order."""
    return sorted(os.sched_getaffinity(0))


def quota(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> float | None:
    """Cores' worth of time that the tightest control group above us allows; None: no limit, or none to be read."""
    limits = [limit for folder in _groups(proc, cgroups) if (limit := _limit(folder)) is not None]
    return min(limits, default=None)


def thread_count(cores: int, quota: float | None) -> int:
    """One thread for each core that we can have all of.

    Rounded down: a group that overdraws its quota is stopped as a whole, our event loop included.
    """
    return cores if quota is None else max(1, min(cores, int(quota)))


def placement(threads: int, ranked: Sequence[int]) -> list[int | None]:
    """The core for each thread, of cores that are ranked best first; all None if there are more threads than cores."""
    return list(ranked[:threads]) if threads <= len(ranked) else [None] * threads


def model(proc: Path = _PROC) -> str:
    """The processor's name as its maker writes it."""
    try:
        lines = (proc / "cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    values = {key.strip(): value.strip() for key, value in named.items()}
    return values.get("model name") or values.get("Model") or "unknown processor"


def _groups(proc: Path, cgroups: Path) -> Iterator[Path]:
    """Our group and all above it, in every hierarchy that can limit CPU time.

    In a container the path may be the host's, of which only the root is mounted; what does not exist is harmless.
    """
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            roots = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            roots = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        for root in roots:
            own = root / path.strip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _limit(group: Path) -> float | None:
    for read in (_limit_v2, _limit_v1):
        try:
            quota, period = read(group)
            if quota != "max" and int(quota) > 0 and int(period) > 0:  # v1 says -1 for no limit
                return int(quota) / int(period)
        except (OSError, ValueError):
            continue
    return None


def _limit_v2(group: Path) -> tuple[str, str]:
    quota, period = (group / "cpu.max").read_text().split()
    return quota, period


def _limit_v1(group: Path) -> tuple[str, str]:
    return (group / "cpu.cfs_quota_us").read_text(), (group / "cpu.cfs_period_us").read_text()
