"""Notices a suspend: CLOCK_BOOTTIME goes on meanwhile, CLOCK_MONOTONIC does not (clock_gettime(2)).

Whatever was known of a board before the suspend says nothing about it afterwards: it may have been hot, unplugged or
left hashing. So the first thread of the board that notices the suspend takes its power, and the board comes up again
as at a start, after its sensors were read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

NOTICED_S = 1.0  # two readings of the clocks may differ by less without a suspend


def suspended_s() -> float:
    """Seconds that this machine has been suspended since it was booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Sleep:
    """Notices that the machine was suspended, and remembers it until a look at the sensors. Thread-safe."""

    def __init__(self, suspended_s: Callable[[], float] = suspended_s) -> None:
        self._suspended_s = suspended_s
        self._known_s = suspended_s()
        self._unread = False
        self._lock = threading.Lock()

    def slept(self) -> float | None:
        """Seconds of a suspend that nobody has noticed yet; from now on the sensors count as unread."""
        with self._lock:
            total_s = self._suspended_s()
            slept_s = total_s - self._known_s
            if slept_s < NOTICED_S:
                return None
            self._known_s, self._unread = total_s, True
            return slept_s

    @property
    def unread(self) -> bool:
        """Whether the sensors must be read before the board may have power."""
        return self._unread

    def was_read(self, since: float) -> None:
        """A look at the sensors is over that began when the machine had been suspended for `since` seconds."""
        with self._lock:
            if since >= self._known_s:
                self._unread = False

    @property
    def known_s(self) -> float:
        """Seconds of suspend that were noticed."""
        return self._known_s
