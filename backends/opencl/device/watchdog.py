"""Decides when a worker counts as hung, when it is restarted, and when the device is given up.

    OFF --Begin--> STARTING --Ready--> RUNNING --+
                      ^  |                |      | nothing finished for max(10 x what is usual, 30 s): Kill
          wait over:  |  |  silent: Kill  |      |
              Spawn   |  +-------+--------+------+
                      |          v Lost
                      +------- SICK (waits) --- more than `tries` times, or no use to try again ---> DEAD

Another loss doubles the wait. A minute of running without a fault resets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from backends.rates import smoothed


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits for a worker's faults."""

    hung_s: float = 30.0  # the least time for a launch before the driver counts as hung
    hung_times: float = 10.0  # the same as a multiple of a usual launch
    starting_s: float = 600.0  # without a report while the worker builds and tunes
    tries: int = 3  # restarts in a row
    backoff_s: float = 1.0  # before the first restart; doubles
    settled_s: float = 60.0  # of running, after which failures are forgotten


@dataclass(frozen=True, slots=True)
class Begin:
    """The device is to run."""


@dataclass(frozen=True, slots=True)
class Spoke:
    """It said something while it was starting."""


@dataclass(frozen=True, slots=True)
class Ready:
    """The worker has passed its examination."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A launch."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker ended or was killed. for_good: another worker would fail in the same way."""

    reason: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes. busy: launches are out."""

    busy: bool


Event = Begin | Spoke | Ready | Finished | Lost | Tick


@dataclass(frozen=True, slots=True)
class Spawn:
    """Effect: start a worker."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Effect: kill the worker. The event Lost must follow."""

    reason: str


class Phase(Enum):
    """Where the picture above stands."""

    OFF = auto()
    STARTING = auto()
    RUNNING = auto()
    SICK = auto()
    DEAD = auto()


class Watchdog:
    """The state machine of one device's worker."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.phase = Phase.OFF
        self.reason: str | None = None  # why it is sick or dead
        self.restarts = 0
        self._patience = patience or Patience()
        self._failures = 0  # in a row
        self._since = 0.0  # when it last gave a sign of life, or had no reason to
        self._running_since = 0.0
        self._restart_at = 0.0
        self._usual_s: float | None = None

    def handle(self, event: Event, now: float) -> list[Spawn | Kill]:
        """Return what to do about this event."""
        match event:
            case Begin():
                return self._spawn(now)
            case Spoke():
                self._since = now
            case Ready():
                self.phase, self.reason = Phase.RUNNING, None
                self._since = self._running_since = now
            case Finished():
                self._learn(now)
            case Lost(reason, for_good):
                self._lose(reason, now, for_good=for_good)
            case Tick(busy):
                return self._tick(now, busy=busy)
        return []

    @property
    def limit_s(self) -> float:
        """How long a launch may take before its driver counts as hung."""
        return max(self._patience.hung_times * (self._usual_s or 0.0), self._patience.hung_s)

    def _tick(self, now: float, *, busy: bool) -> list[Spawn | Kill]:
        silent_s = now - self._since
        match self.phase:
            case Phase.SICK if now >= self._restart_at:
                self.restarts += 1
                return self._spawn(now)
            case Phase.STARTING if silent_s >= self._patience.starting_s:
                return [Kill(f"it was not ready after {silent_s:.0f} s: its driver hangs while it builds the search")]
            case Phase.RUNNING if busy and silent_s >= self.limit_s:
                return [Kill(f"no launch finished for {silent_s:.0f} s: its driver hangs")]
            case Phase.RUNNING if not busy:
                self._since = now
        return []

    def _spawn(self, now: float) -> list[Spawn | Kill]:
        self.phase, self._since = Phase.STARTING, now
        return [Spawn()]

    def _learn(self, now: float) -> None:
        took_s = now - self._since
        self._usual_s = smoothed(self._usual_s, took_s)
        self._since = now

    def _lose(self, reason: str, now: float, *, for_good: bool) -> None:
        if self.phase is Phase.RUNNING and now - self._running_since >= self._patience.settled_s:
            self._failures = 0
        self._failures += 1
        if for_good or self._failures > self._patience.tries:
            again = "" if for_good else f", after {self._failures - 1} restarts in a row"
            self.phase, self.reason = Phase.DEAD, f"{reason}{again}"
            return
        self.phase, self.reason = Phase.SICK, reason
        self._restart_at = now + self._patience.backoff_s * 2 ** (self._failures - 1)
