"""Whether this machine is quiet enough to measure on, by what the kernel counts in /proc/stat (see proc(5))."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BUSY_SHARE = 0.05  # of one core, by others: beyond this a median is not to be trusted
STOLEN_SHARE = 0.01  # of all cores, by the hypervisor

_STAT = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Clock:
    """A moment: processor seconds of the whole machine and of this process with its children."""

    wall_s: float
    busy_s: float
    stolen_s: float
    own_s: float

    @classmethod
    def now(cls) -> Self | None:
        """None where there is no /proc/stat."""
        try:
            fields = [int(x) for x in _STAT.read_text().split("\n", 1)[0].split()[1:]]
        except OSError:
            return None
        tick = os.sysconf("SC_CLK_TCK")
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
        own = os.times()
        return cls(
            wall_s=time.perf_counter(),
            busy_s=(user + nice + system + irq + softirq) / tick,
            stolen_s=steal / tick,
            own_s=own.user + own.system + own.children_user + own.children_system,
        )


def disturbances(since: Clock | None) -> list[str]:
    """What others took of this machine since then, in words; empty if it was quiet or cannot be known."""
    now = Clock.now()
    if since is None or now is None or now.wall_s <= since.wall_s:
        return []
    wall = now.wall_s - since.wall_s
    others = (now.busy_s - since.busy_s - (now.own_s - since.own_s)) / wall
    stolen = (now.stolen_s - since.stolen_s) / wall / (os.cpu_count() or 1)
    found = []
    if others > BUSY_SHARE:
        found.append(f"other processes used {others:.0%} of a core")
    if stolen > STOLEN_SHARE:
        found.append(f"the hypervisor took {stolen:.1%} of the processor time")
    return found


def load_before() -> list[str]:
    """What was going on before anything was measured, in words."""
    load = os.getloadavg()[0]
    return [f"the load average is {load:.2f} before the start"] if load > BUSY_SHARE * (os.cpu_count() or 1) else []
