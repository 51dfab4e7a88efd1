"""The thread of one device: it gives leases to the worker, passes hits to the feed, and replaces a worker that fails.

The thread waits on nothing but the feed's epoch, which it reads before it looks at anything else. Others first make
their change (the manager new work, the device a stop, pause or duty, the worker a report) and then raise the epoch.
Between two launches the worker needs nothing from this thread: it has its next stretch already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from backends import threaded
from backends.base import DeviceFault, Feed, Hit, State
from backends.opencl.device import watchdog as dog
from backends.opencl.device.progress import Progress
from backends.opencl.device.thermal import Thermal
from backends.opencl.device.watchdog import Phase, Watchdog
from backends.opencl.protocol import (
    Doing,
    Done,
    Drop,
    Dropped,
    Failed,
    Open,
    Order,
    PowerSet,
    Ready,
    Report,
    Sensed,
    Set,
)
from backends.rates import smoothed

_LOOK_S = 0.25  # between two steps when nothing raises the epoch
_PARTING_S = 2.0  # time for a worker to report its launches in flight and to end
_AHEAD_S = 0.5  # the worker gets more work when it has less than this left


class Link(Protocol):
    """The interface of `process.WorkerProcess`."""

    @property
    def pid(self) -> int: ...
    def send(self, order: Order) -> None: ...
    def received(self) -> list[Report]: ...
    def lost(self) -> str | None: ...
    def close(self, timeout: float) -> bool: ...
    def kill(self) -> bool: ...


@dataclass(slots=True)
class Controls(threaded.Controls):
    """The settings for the worker. The driver reads them at every step. They live as long as the device."""

    power_w: float | None = None


@dataclass(slots=True)
class Heard:
    """The worker's last reports, for telemetry. Any thread may read them."""

    sensed: Sensed = field(default_factory=Sensed)
    activity: str | None = None
    kernel: str | None = None
    power: PowerSet | None = None  # the answer to the last limit that was set
    powers: int = 0  # how many answers there were
    hps: float | None = None


class Driver:
    """Runs in a thread of its own. needs_temperature: hash nothing before the card has reported a temperature."""

    def __init__(
        self,
        feed: Feed,
        controls: Controls,
        opening: Open,
        spawn: Callable[[], Link],
        *,
        thermal: Thermal,
        needs_temperature: bool = False,
        watchdog: Watchdog | None = None,
        stopping: Callable[[], bool] = lambda: False,
        answered: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self.state = State.STARTING
        self.fault: str | None = None
        self.heard = Heard()
        self.thermal = thermal
        self.watchdog = watchdog or Watchdog()
        self._feed = feed
        self._controls = controls
        self._opening = opening
        self._spawn = spawn
        self._needs_temperature = needs_temperature
        self._stopping = stopping
        self._answered = answered
        self._clock = clock
        self._log = log
        self._progress = Progress()
        self._link: Link | None = None
        self._last_words: Failed | None = None
        self._told: tuple[float, float | None] | None = None  # duty and power that the worker was given last
        self._stopped_for_heat = False  # as logged last
        self._token = 0
        self._dropping = False  # the worker has not yet confirmed an order to drop its stretches

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._link.pid if self._link else None

    def run(self) -> None:
        """Mine until told to stop. Raises DeviceFault when the device is dead, and what the feed raises."""
        try:
            self._do(self.watchdog.handle(dog.Begin(), self._clock()))
            while self.step():
                pass
            self._finish()
        finally:
            if (link := self._link) is not None:
                ready = self.watchdog.phase is Phase.RUNNING
                if not (link.close(_PARTING_S) if ready else link.kill()):
                    self._log("worker_not_gone", pid=link.pid)

    def step(self) -> bool:
        """Take the worker's reports and do the next step. Return False when it must stop."""
        epoch, now = self._feed.epoch, self._clock()
        if self._stopping():
            return False
        self._hear(now)
        self._do(self.watchdog.handle(dog.Tick(busy=self._progress.busy), now))
        self.thermal.elapsed(now)
        self._tell_heat()
        wait_s = _LOOK_S
        match self.watchdog.phase:
            case Phase.RUNNING:
                wait_s = self._mine()
            case Phase.DEAD:
                raise DeviceFault(self.watchdog.reason or "its worker fails")
            case Phase.SICK:
                self.state, self.fault = State.SICK, self.watchdog.reason
            case Phase.STARTING if self.watchdog.reason:
                self.state, self.fault = State.SICK, self.watchdog.reason
            case _:
                self.state = State.STARTING
        self._feed.wait(epoch, wait_s)
        return True

    # ---- what the worker says

    def _hear(self, now: float) -> None:
        link = self._link
        if link is None:
            return
        try:
            for report in link.received():
                self._take(report, now)
            reason = link.lost()
        except DeviceFault as fault:
            reason = str(fault)
        if reason is not None:
            self._lose(reason, now)

    def _take(self, report: Report, now: float) -> None:
        match report:
            case Done():
                self._account(report, now)
            case Dropped(token=token):
                if token == self._token:
                    self._dropping = False
                    self._progress.rewind()
            case Sensed():
                self.heard.sensed = report
                self.thermal.sensed(report.temperatures, now)
            case Doing(text=text):
                self.heard.activity = text
                self._log("device_activity", activity=text)
                self._opening = self._opening.model_copy(update={"retune": False})  # the next worker goes on
                self.watchdog.handle(dog.Spoke(), now)
            case Ready(name=name, midstates=midstates):
                self._progress.together = midstates
                self.heard.kernel, self.heard.activity = name, None
                self._log("device_ready", kernel=name)
                self.watchdog.handle(dog.Ready(), now)
            case PowerSet():
                if report.refused is not None:
                    self._log("power_limit_refused", reason=report.refused)
                self.heard.power, self.heard.powers = report, self.heard.powers + 1
                self._answered()
            case Failed():
                self._last_words = report
            case _:
                assert_never(report)

    def _tell_heat(self) -> None:
        """Log that the card was stopped for its heat, or may go on."""
        stopped = self.thermal.stopped
        if stopped is not None and not self._stopped_for_heat:
            self._log("card_stopped", reason=stopped)
        elif stopped is None and self._stopped_for_heat:
            self._log("card_cooled")
        self._stopped_for_heat = stopped is not None

    def _account(self, report: Done, now: float) -> None:
        """Report the hits of a part of a stretch to the feed."""
        part = self._progress.done(report)
        for nonce, version in report.hits:
            self._feed.found(Hit(part.work, nonce, version, part.work.ntime))
        hashes = part.count * len(part.versions)
        self._feed.worked(part.work, hashes)
        if report.took_s:
            self.heard.hps = smoothed(self.heard.hps, hashes / report.took_s)
        self.watchdog.handle(dog.Finished(), now)

    # ---- restarts

    def _do(self, effects: list[dog.Spawn | dog.Kill]) -> None:
        for effect in effects:
            match effect:
                case dog.Spawn():
                    self._begin()
                case dog.Kill(reason):
                    self._lose(reason, self._clock())

    def _begin(self) -> None:
        self._last_words, self._told = None, None
        try:
            self._link = self._spawn()
        except OSError as error:
            self._lose(f"no process could be started for it: {error}", self._clock())
            return
        self._link.send(self._opening)
        if self.watchdog.restarts:
            self._log("worker_restarted", pid=self._link.pid, reason=self.watchdog.reason)

    def _lose(self, reason: str, now: float) -> None:
        """End the worker and keep its unsearched stretches for the next one."""
        link, self._link = self._link, None
        words = self._last_words
        stuck = link is not None and not link.kill()
        if stuck and link:
            reason = f"{reason}; its process {link.pid} cannot even be killed: only a reboot helps"
        elif words:
            reason = words.reason
        self._progress.rewind()
        self._dropping = False
        self._log("worker_lost", reason=reason)
        self.watchdog.handle(dog.Lost(reason, for_good=stuck or bool(words and words.for_good)), now)

    # ---- orders to the worker

    def _mine(self) -> float:
        """Give the worker enough work. Return how long to wait then, in seconds."""
        progress = self._progress
        self._tell_settings()
        resting = self._resting()
        stale = progress.work is not None and not self._feed.fresh(progress.work)
        if self._dropping:
            return _LOOK_S
        if progress.busy and (resting or stale):
            self._drop()  # the worker reports its stretches before new work is taken, since their job may die with it
            return _LOOK_S
        if stale:
            progress.forget()
        if resting:
            self.state, self.fault = resting
            return _LOOK_S
        self.fault = None
        self._fill()
        if progress.busy:
            self.state = State.MINING
            return _LOOK_S
        self.state = State.IDLE
        return 0.0  # take() has waited

    def _resting(self) -> tuple[State, str | None] | None:
        """Why the device hashes nothing now, as state and fault; None if it hashes."""
        if not self._controls.enabled or not self._controls.duty:
            return State.PAUSED, None
        if self.thermal.stopped:
            return State.PAUSED, self.thermal.stopped
        if self._needs_temperature and not self.heard.sensed.temperatures:
            return State.STARTING, "waiting for its temperature"
        return None

    def _tell_settings(self) -> None:
        """Give the worker the duty and power that the controls set and the temperature allows."""
        duty, power_w = min(self._controls.duty, self.thermal.duty), self._controls.power_w
        if self._link and (duty, power_w) != self._told:
            known = self._told is not None and power_w == self._told[1]
            self._link.send(Set(duty=duty, power_w=None if known else power_w))
            self._told = duty, power_w

    def _fill(self) -> None:
        """Give out as many stretches as there is room for, from a fresh lease when this one is used up."""
        progress = self._progress
        reserve = (self.heard.hps or 0.0) * _AHEAD_S
        while self._link and not progress.full(reserve):
            if progress.exhausted:
                work = self._feed.take(0.0 if progress.busy else _LOOK_S)
                if work is None:
                    return
                progress.begin(work)
            self._link.send(progress.next())

    def _drop(self) -> None:
        if self._link:
            self._token += 1
            self._dropping = True
            self._link.send(Drop(token=self._token))

    def _finish(self) -> None:
        """Wait a short time for the hits of the launches in flight."""
        give_up = self._clock() + _PARTING_S
        if self.watchdog.phase is Phase.RUNNING and self._progress.busy and not self._dropping:
            self._drop()
        while self._dropping and self._link and self._clock() < give_up:
            epoch = self._feed.epoch
            self._hear(self._clock())
            if self._dropping:
                self._feed.wait(epoch, _LOOK_S)
