"""On which cores threads run that drive devices, and those that compute.

Who drives a device needs Python's lock for some tens of microseconds and then waits for the device. Spread over several
cores, each handing over of the lock wakes another core, which takes longer than what is done with it: with sixteen USB
boards a new block's job reached the last one after 8 ms, from one core after 3.
"""

from __future__ import annotations

import os


def gather() -> None:
    """Bind the calling thread, and whichever it starts from now on, to the last core that the process may use.

    Raises OSError where the system forbids it.
    """
    os.sched_setaffinity(0, {max(_of_the_process())})


def spread() -> None:
    """Let the calling thread run wherever the process may, whoever started it. Raises OSError as above."""
    os.sched_setaffinity(0, _of_the_process())


def _of_the_process() -> set[int]:
    return os.sched_getaffinity(os.getpid())  # the main thread's: nobody binds that
