"""Contains one device: whatever it does wrong, the other devices mine on.

                       trouble: Sick                       back-off over: Restart
      WELL / TRIAL --------------------> SICK (waiting) --------------------------> TRIAL
       ^     |                             |                                         |
       |     |                             | more than `tries` restarts within       |
       |     |                             | `window_s`, or lied again: Disable      |
       |     |                             v                                         |
       |     |                           DEAD                                        |
       +-----|---------- `trial_s` without trouble, and hashes: Recovered -----------+

Trouble is one of: lying (too many of its hits are wrong, beyond coincidence), silent (it has work and does no hashes),
crashed (its telemetry says that it is dead). Back-off doubles with each restart inside the window. Nothing here touches
a device.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from backends.base import State

from .rate import chance


@dataclass(frozen=True, slots=True)
class Observation:
    """A device as seen from outside, about once a second. Counters run since the device was opened."""

    hashes: int
    good: int  # GOOD verdicts
    wrong: int  # WRONG verdicts
    has_work: bool  # its feed has a job, and it is meant to run
    state: State
    fault: str | None = None
    activity: str | None = None  # its own description of what it does


@dataclass(frozen=True, slots=True)
class Patience:
    """The limits for a device's faults."""

    silent_s: float = 60.0  # a device may have work and do no hashes for so long
    starting_s: float = 300.0  # the same while it compiles or ramps up and reports no progress
    wrong_ratio: float = 0.05  # the part of its hits that may be wrong
    doubt: float = 1e-6  # wrong hits count as lying if chance explains them less often than this
    tries: int = 8  # restarts within the window
    window_s: float = 3600.0
    backoff_s: float = 2.0  # before the first restart; doubles
    backoff_limit_s: float = 300.0
    trial_s: float = 60.0  # without trouble after a restart


@dataclass(frozen=True, slots=True)
class Sick:
    """Effect: show the device as sick; a Restart follows."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Restart:
    """Effect: stop the device and start it again."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Disable:
    """Effect: stop the device; only a person starts it again."""

    device: str
    reason: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """Effect: show the device as mining again."""

    device: str


WatchEffect = Sick | Restart | Disable | Recovered


class Phase(Enum):
    """Where the picture above stands."""

    WELL = auto()
    SICK = auto()
    TRIAL = auto()
    DEAD = auto()


class Trouble(Enum):
    """The ways in which a device fails."""

    LYING = auto()
    SILENT = auto()
    CRASHED = auto()


@dataclass(slots=True)
class _Base:
    """Counters at the beginning of a period: a long good past must not hide a bad present."""

    at: float
    hashes: int
    good: int
    wrong: int


class DeviceWatch:
    """The state machine of one device."""

    def __init__(self, device: str, patience: Patience | None = None) -> None:
        self.phase = Phase.WELL
        self.reason: str | None = None  # why it is not well
        self.restarts = 0
        self._device = device
        self._patience = patience or Patience()
        self._base: _Base | None = None
        self._hashes = 0
        self._activity: str | None = None
        self._progress_at = 0.0  # when it last hashed, or had no reason to, or went on with its start
        self._restarted: deque[float] = deque()
        self._restart_at = 0.0
        self._lied_at: float | None = None

    def handle(self, seen: Observation, now: float) -> list[WatchEffect]:
        """Return what to do about a device that looks like this. Do not call it during a restart of the device."""
        match self.phase:
            case Phase.DEAD:
                return []
            case Phase.SICK:
                return self._restart(seen, now) if now >= self._restart_at else []
            case Phase.WELL | Phase.TRIAL:
                return self._examine(seen, now)

    def woke(self, hashes: int, now: float) -> None:
        """Count silence from `now` on: until now the device was kept off. `hashes`: its counter."""
        self._hashes, self._progress_at = hashes, now

    def _examine(self, seen: Observation, now: float) -> list[WatchEffect]:
        if self._base is None or now - self._base.at >= self._patience.window_s:
            self._renew(seen, now)
        trouble = self._trouble(seen, now)
        if trouble is not None:
            return self._fall_sick(trouble, seen, now)
        well = self.phase is Phase.TRIAL and now - self._restarted[-1] >= self._patience.trial_s
        if well and self._base is not None and seen.hashes > self._base.hashes:
            self.phase, self.reason = Phase.WELL, None
            return [Recovered(self._device)]
        return []

    def _trouble(self, seen: Observation, now: float) -> Trouble | None:
        if seen.state is State.DEAD:
            return Trouble.CRASHED
        if self._lies(seen):
            return Trouble.LYING
        excused = not seen.has_work or seen.state in (State.OFF, State.PAUSED)
        starting = seen.state is State.STARTING
        went_on = starting and seen.activity != self._activity  # a card that tries twenty kernels takes its time
        if excused or went_on or seen.hashes != self._hashes:
            self._hashes, self._activity, self._progress_at = seen.hashes, seen.activity, now
        patience_s = self._patience.starting_s if starting else self._patience.silent_s
        return Trouble.SILENT if now - self._progress_at >= patience_s else None

    def _lies(self, seen: Observation) -> bool:
        base = self._base
        if base is None:
            return False
        good, wrong = seen.good - base.good, seen.wrong - base.wrong
        allowed = self._patience.wrong_ratio * (good + wrong)
        return wrong > allowed and chance(wrong, allowed) < self._patience.doubt

    def _fall_sick(self, trouble: Trouble, seen: Observation, now: float) -> list[WatchEffect]:
        window_s = self._patience.window_s
        while self._restarted and now - self._restarted[0] >= window_s:
            self._restarted.popleft()
        self.reason = self._describe(trouble, seen, now)
        lied_before = self._lied_at is not None and now - self._lied_at < window_s
        if trouble is Trouble.LYING:
            self._lied_at = now
            if lied_before:
                return self._disable(f"{self.reason}, again after a restart")
        if len(self._restarted) >= self._patience.tries:
            return self._disable(f"{self.reason}, after {len(self._restarted)} restarts in {window_s:g} s")
        self.phase = Phase.SICK
        self._restart_at = now + min(
            self._patience.backoff_s * 2 ** len(self._restarted), self._patience.backoff_limit_s
        )
        return [Sick(self._device, self.reason)]

    def _restart(self, seen: Observation, now: float) -> list[WatchEffect]:
        self.phase = Phase.TRIAL
        self.restarts += 1
        self._restarted.append(now)
        self._renew(seen, now)
        return [Restart(self._device, self.reason or "sick")]

    def _disable(self, reason: str) -> list[WatchEffect]:
        self.phase, self.reason = Phase.DEAD, reason
        return [Disable(self._device, reason)]

    def _renew(self, seen: Observation, now: float) -> None:
        """Judge from here on, and count silence from here only if the device has just been started."""
        if self._base is None or self.phase is Phase.TRIAL:
            self._hashes, self._progress_at = seen.hashes, now
        self._base = _Base(now, seen.hashes, seen.good, seen.wrong)

    def _describe(self, trouble: Trouble, seen: Observation, now: float) -> str:
        match trouble:
            case Trouble.CRASHED:
                return seen.fault or "it stopped by itself"
            case Trouble.LYING:
                wrong = seen.wrong - (self._base.wrong if self._base else 0)
                hits = wrong + seen.good - (self._base.good if self._base else 0)
                return f"{wrong} of {hits} hits were wrong"
            case Trouble.SILENT:
                return f"no hashes for {now - self._progress_at:.0f} s"
