"""A meter in a thread of its own: whatever it does, mining goes on, and its last word is there to be looked at.

The thread asks, judges and adds up; everybody else reads the frozen `Known`. A meter that fails costs its value and
one log line, and another when it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import structlog

from miner.power.energy import LONGEST_GAP_S, MOST_W
from miner.power.errors import PowerError
from miner.power.reading import Meter
from miner.power.tally import Tally

log = structlog.get_logger(__name__)

READ_S = 5.0  # what one reading may take
_SILENT = "it does not answer"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a meter. None is unknown."""

    at: float  # of the last attempt that ended
    watts: float | None = None
    joules: float | None = None
    gap_s: float = 0.0
    fault: str | None = None  # why it is unknown


class Reader:
    """Reads one meter every `interval_s` from `start` to `close`."""

    def __init__(
        self,
        meter: Meter,
        interval_s: float,
        *,
        read_s: float = READ_S,
        most_w: float = MOST_W,
        level: Literal["info", "warning"] = "warning",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = meter.name
        self._meter = meter
        self._interval_s = interval_s
        self._read_s = read_s
        self._level = level  # of its failures in the log
        self._longest_s = max(LONGEST_GAP_S, 3 * interval_s, interval_s + 2 * read_s)
        self._clock = clock
        self._tally = Tally(longest_gap_s=self._longest_s, most_w=most_w)
        self._known = Known(clock())
        self._failing = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"meter {meter.name}", daemon=True)

    def known(self, now: float) -> Known:
        """What is known now; old news is none. Any thread; no I/O."""
        known = self._known
        if now - known.at > self._longest_s and not self._ending.is_set():
            return replace(known, watts=None, fault=known.fault or _SILENT)
        return known

    def look(self) -> None:
        """Read once: what the thread does all the time."""
        fault = None
        try:
            self._tally.handle(self._meter.read(self._read_s))
        except PowerError as error:
            fault = str(error)
        except Exception as error:  # a library's defect costs its value, too
            log.exception("meter_defect", meter=self.name)
            fault = f"{type(error).__name__}: {error}"
        now = self._clock()
        if fault is not None:
            self._tally.lost(now)
        if fault and not self._failing:
            getattr(log, self._level)("meter_unreadable", meter=self.name, text=fault)
        elif self._failing and not fault:
            log.info("meter_readable", meter=self.name)
        self._failing = fault is not None
        self._known = Known(now, self._tally.watts, self._tally.joules, self._tally.gap_s, fault)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def close(self, timeout_s: float = 0.5) -> None:
        """Stop; a reading that hangs is left to itself. Idempotent."""
        self._ending.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            due = self._clock()
            while not self._ending.is_set():
                self.look()
                due = max(due + self._interval_s, self._clock())  # what is late is not made up for
                self._ending.wait(due - self._clock())
        finally:
            self._meter.close()
