"""Writes files in a thread of its own, in order, so that a disk that is slow or hangs does not stop the mining.

    event loop: do(job) --> at most WAITING jobs --> the thread: job(), job(), ...

A job deals with its own OSErrors; it reports nothing back but what its owner reads from plain attributes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

WAITING = 10_000  # jobs; a disk that has not answered for so long has hung
CLOSE_S = 5.0

Job = Callable[[], object]  # its answer is not looked at
Do = Callable[[Job], bool]  # whether it will be done


def at_once(job: Job) -> bool:
    """Do the job at once, in this thread."""
    job()
    return True


class Scribe:
    """One thread for all files; `do` and `close` from one other."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._ending = False
        # A daemon thread: the miner's end must not wait for a disk that never answers.
        self._thread = threading.Thread(target=self._run, name="scribe", daemon=True)
        self._thread.start()

    def do(self, job: Job) -> bool:
        """Queue this job and return at once. False: too many jobs wait already."""
        with self._changed:
            if self._ending or len(self._jobs) >= WAITING:
                return False
            self._jobs.append(job)
            self._changed.notify()
        return True

    def close(self, timeout: float = CLOSE_S) -> None:
        """Wait up to so many seconds until all jobs are done."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(timeout)
        if self._thread.is_alive():
            log.error("disk_does_not_answer", seconds=timeout, left_unwritten=len(self._jobs))

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._ending)
                if not self._jobs:
                    return
                job = self._jobs.popleft()
            try:
                job()
            except Exception:  # the other files are still to be written
                log.exception("scribe_defect")
