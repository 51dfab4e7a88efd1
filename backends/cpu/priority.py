"""How hash threads give way to the rest of the machine, and first of all to our own event loop.

On Linux niceness and scheduling class belong to a thread, not to the process (sched(7), setpriority(2)). At default
priority two busy hash threads on two cores delay a wake-up of the loop by milliseconds at the 99th percentile; at nice
19 and under SCHED_IDLE by well under one. LOW is the default and not IDLE because a hash thread also needs the GIL
between two chunks: one that is starved while it holds it starves the loop with it, and SCHED_IDLE has a fifth of the
weight of nice 19 (3 against 15; nice 0 has 1024).
"""

from __future__ import annotations

import os
import threading
from enum import StrEnum

_LOWEST = 19


class Priority(StrEnum):
    """As configured."""

    IDLE = "idle"  # SCHED_IDLE: only what nobody else wants
    LOW = "low"  # nice 19
    NORMAL = "normal"  # as the process was started


def give_way(priority: Priority) -> None:
    """Lower the calling thread, and no other. Needs no privilege; OSError where the system forbids it all the same."""
    match priority:
        case Priority.IDLE:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        case Priority.LOW:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        case Priority.NORMAL:
            pass
