"""One OpenCL device: a thread that drives a worker process, and what the operator and telemetry see of both.

OFF --start--> STARTING --worker ready--> MINING <-> IDLE, PAUSED       any --stop--> OFF
any --worker lost--> SICK --a new worker is ready--> MINING             lost again and again: DEAD, until stop
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from backends.base import Capability, DeviceInfo, Feed, Reading, SettingRefused, Settings, State, Telemetry
from backends.opencl.device.driver import Controls, Driver
from backends.opencl.device.process import COMMAND, WorkerProcess
from backends.opencl.device.thermal import Limits, Thermal
from backends.opencl.device.watchdog import Patience, Watchdog
from backends.opencl.listing import PowerLimits
from backends.opencl.protocol import Open
from backends.threaded import Run, ThreadedDevice

_ANSWER_S = 3.0  # for a worker to set its card's power limit


@dataclass(slots=True, kw_only=True)
class _Run(Run):
    driver: Driver


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


class OpenclDevice(ThreadedDevice[_Run, Controls]):
    """Implements `backends.base.Device`."""

    def __init__(self, info: DeviceInfo, setup: Setup, log: Callable[..., None] = lambda *_a, **_k: None) -> None:
        super().__init__(info, Controls(duty=setup.duty, power_w=setup.power_w), log)
        self._setup = setup
        self._answer = threading.Condition()

    def _prepare(self, feed: Feed) -> _Run:
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
        run = _Run(feed, driver=driver)
        run.threads.append(self._thread(run, driver.run))
        return run

    def apply(self, settings: Settings) -> Settings:
        power, power_w = self._setup.power, settings.power_w
        if power_w is not None:
            if power is None:
                raise SettingRefused(f"{self._info.id} has no power limit that could be set")
            if power.refused:
                raise SettingRefused(f"{self._info.id}: {power.refused}")
            if not power.least_w <= power_w <= power.most_w:
                text = f"{power.least_w:g} to {power.most_w:g} W, not {power_w:g} W"
                raise SettingRefused(f"{self._info.id} takes {text}")
        return super().apply(settings)

    def _takes(self) -> Collection[str]:
        duty = ["duty"] if Capability.DUTY in self._info.capabilities else []
        return ["enabled", *duty, *(["power_w"] if self._setup.power else [])]

    def _set(self, settings: Settings) -> None:
        if settings.power_w is not None:
            self._limit(settings.power_w)
        super()._set(settings)

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
