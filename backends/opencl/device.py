"""One OpenCL device: a thread that drives a worker process, and what the operator and telemetry see of both.

OFF --start--> STARTING --worker ready--> MINING <-> IDLE, PAUSED       any --stop--> OFF
any --worker lost--> SICK --a new worker is ready--> MINING             lost again and again: DEAD, until stop
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields

from backends.base import (
    Capability,
    DeviceFault,
    DeviceInfo,
    Feed,
    Misuse,
    Reading,
    SettingRefused,
    Settings,
    State,
    Telemetry,
)

from .driver import Controls, Driver
from .listing import PowerLimits
from .process import COMMAND, WorkerProcess
from .protocol import Open
from .thermal import Limits, Thermal
from .watchdog import Patience, Watchdog

_ANSWER_S = 3.0  # for a worker to set its card's power limit


@dataclass(slots=True)
class _Run:
    """From a start() to its stop()."""

    feed: Feed
    driver: Driver
    thread: threading.Thread
    stopping: bool = False
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """How a device is driven. limits: of its temperature; power: what may be set, None: nothing.

    rate_hps: what it was measured to do when it was tuned, None if that is not known.
    """

    opening: Open
    limits: Limits = field(default_factory=Limits)
    has_temperature: bool = False
    power: PowerLimits | None = None
    power_w: float | None = None
    duty: float = 1.0
    rate_hps: float | None = None
    command: Sequence[str] = COMMAND
    environ: Mapping[str, str] | None = None
    patience: Patience = field(default_factory=Patience)


class OpenclDevice:
    """Implements `backends.base.Device`."""

    def __init__(self, info: DeviceInfo, setup: Setup, log: Callable[..., None] = lambda *_a, **_k: None) -> None:
        self._info = info
        self._setup = setup
        self._log = log
        self._controls = Controls(duty=setup.duty, power_w=setup.power_w)
        self._run: _Run | None = None
        self._wake = threading.Lock()  # held to interrupt the feed, so that none is after stop() returned
        self._answer = threading.Condition()

    @property
    def info(self) -> DeviceInfo:
        return self._info

    def start(self, feed: Feed) -> None:
        if self._run:
            raise Misuse(f"{self._info.id} was started already: stop() it first")
        setup = self._setup

        def log(event: str, **values: object) -> None:
            self._log(event, device=self._info.id, **values)

        driver = Driver(
            feed,
            self._controls,
            setup.opening,
            lambda: WorkerProcess(self._interrupt, command=setup.command, environ=setup.environ),
            thermal=Thermal(setup.limits),
            needs_temperature=setup.has_temperature,
            watchdog=Watchdog(setup.patience),
            stopping=lambda: run.stopping,
            answered=self._answered,
            log=log,
        )
        thread = threading.Thread(target=lambda: self._drive(run), name=self._info.id, daemon=True)
        self._run = run = _Run(feed, driver, thread)
        thread.start()

    def stop(self, timeout: float) -> None:
        run = self._run
        if not run:
            return
        run.stopping = True
        self._interrupt()
        if run.thread.ident:
            run.thread.join(timeout)
        if run.thread.is_alive():
            raise DeviceFault(f"{self._info.id} is not off after {timeout} s")
        with self._wake:
            self._run = None

    def apply(self, settings: Settings) -> Settings:
        self._check(settings)
        if settings.power_w is not None:
            self._limit(settings.power_w)
        if settings.enabled is not None:
            self._controls.enabled = settings.enabled
        if settings.duty is not None:
            self._controls.duty = settings.duty
        self._interrupt()
        return settings

    def telemetry(self) -> Telemetry:
        run = self._run
        if not run:
            return Telemetry(State.OFF, duty=self._controls.duty)
        driver, heard = run.driver, run.driver.heard
        sensed = heard.sensed
        duty = min(self._controls.duty, driver.thermal.duty)
        return Telemetry(
            state=State.DEAD if run.fault else driver.state,
            fault=run.fault or driver.fault,
            activity=heard.activity or heard.kernel,
            power_w=sensed.power_w,
            power_source=sensed.source if sensed.power_w is not None else None,
            power_limit_w=sensed.power_limit_w,
            temperatures_c=tuple(Reading(x.sensor, x.celsius) for x in sensed.temperatures),
            fans_rpm=tuple(Reading(sensor, rpm) for sensor, rpm in sensed.fans_rpm),
            fan=sensed.fan,
            frequency_hz=sensed.frequency_hz,
            voltage_v=sensed.voltage_v,
            duty=duty,
            expected_hps=self._expected_hps(heard.hps, duty),
        )

    def _expected_hps(self, now_hps: float | None, duty: float) -> float | None:
        """As when it was tuned, which was under no limit of ours, else as it is now."""
        rate_hps = self._setup.rate_hps if self._controls.power_w is None else None
        expected = now_hps if rate_hps is None else rate_hps
        return None if expected is None else expected * duty

    @property
    def restarts(self) -> int:
        """Of its worker, since it was started."""
        return self._run.driver.watchdog.restarts if self._run else 0

    @property
    def worker(self) -> int | None:
        """The worker's process id; None while there is none."""
        return self._run.driver.pid if self._run else None

    def _check(self, settings: Settings) -> None:
        """Raises SettingRefused."""
        takes = {"enabled"} | {str(x) for x in self._info.capabilities & {Capability.DUTY}}
        name = self._info.id
        if settings.duty is not None and not 0 <= settings.duty <= 1:
            raise SettingRefused(f"duty is a share of the time, 0 to 1, not {settings.duty}")
        if settings.power_w is not None:
            power = self._setup.power
            if power is None:
                raise SettingRefused(f"{name} has no power limit that could be set")
            if power.refused:
                raise SettingRefused(f"{name}: {power.refused}")
            if not power.least_w <= settings.power_w <= power.most_w:
                raise SettingRefused(
                    f"{name} takes {power.least_w:g} to {power.most_w:g} W, not {settings.power_w:g} W"
                )
            takes.add("power_w")
        for item in fields(settings):
            if item.name not in takes and getattr(settings, item.name) is not None:
                raise SettingRefused(f"{name} has no {item.name} to set: it takes {', '.join(sorted(takes))}")

    def _limit(self, power_w: float) -> None:
        """Have the worker set the limit, if there is one; else it is told when it starts. Raises SettingRefused."""
        before, self._controls.power_w = self._controls.power_w, power_w
        run = self._run
        if run is None or run.driver.heard.kernel is None:
            return
        answered = before == power_w and run.driver.heard.power is not None  # it was told at its start
        with self._answer:
            answers = run.driver.heard.powers
            self._interrupt()
            answered = answered or self._answer.wait_for(lambda: run.driver.heard.powers != answers, _ANSWER_S)
        answer = run.driver.heard.power if answered else None
        refused = answer.refused if answer else f"no answer within {_ANSWER_S:g} s"
        if refused is not None:
            self._controls.power_w = before
            raise SettingRefused(f"{self._info.id}: {refused}")

    def _answered(self) -> None:
        with self._answer:
            self._answer.notify_all()

    def _interrupt(self) -> None:
        with self._wake:
            if self._run:
                self._run.feed.interrupt()

    def _drive(self, run: _Run) -> None:
        """The thread's body: whatever goes wrong in it ends here, as a dead device."""
        try:
            run.driver.run()
        except Exception as error:  # noqa: BLE001
            run.fault = str(error) or type(error).__name__
            self._log("device_failed", device=self._info.id, error=repr(error))
