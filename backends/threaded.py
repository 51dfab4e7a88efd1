"""What devices whose work is done by threads have in common: `start`, `stop` and `apply` of `backends.base.Device`.

    OFF --start--> its threads run --stop--> OFF
                   one raises: `Run.fault` says why, and the others are told to stop; until `stop`

A device made of it says which threads it has (`_prepare`), what it can be told (`_takes`) and how it is (`telemetry`).
Every wait of a thread is on the feed's epoch: whoever changes something does so first and interrupts the feed then.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from typing import Generic, TypeVar

from backends.base import DeviceFault, DeviceInfo, Feed, Misuse, SettingRefused, Settings


@dataclass(slots=True)
class Controls:
    """What a device tells its threads; they read it before every step. Lives as long as the device."""

    enabled: bool = True
    duty: float = 1.0  # share of the time, 0 to 1


@dataclass(slots=True)
class Run:
    """From a start to its stop."""

    feed: Feed
    threads: list[threading.Thread] = field(default_factory=list)
    stopping: bool = False
    fault: str | None = None  # what the first thread that failed raised


R = TypeVar("R", bound=Run)
C = TypeVar("C", bound=Controls)


class ThreadedDevice(ABC, Generic[R, C]):
    """Everything of a device but `telemetry`."""

    def __init__(self, info: DeviceInfo, controls: C, log: Callable[..., None] = lambda *_a, **_k: None) -> None:
        self._info = info
        self._controls = controls
        self._log = log
        self._run: R | None = None
        self._wake = threading.Lock()  # held to interrupt the feed, so that none is after stop() returned

    @property
    def info(self) -> DeviceInfo:
        return self._info

    @abstractmethod
    def _prepare(self, feed: Feed) -> R:
        """A new run with its threads (`_thread`), none of them started."""

    def _begin(self, run: R) -> None:
        """The run is there, and its threads start next."""

    def _end(self, run: R) -> None:
        """The run was told to stop, and its threads are waited for next."""

    def _takes(self) -> Collection[str]:
        """The settings that can be applied, in the order in which a refusal names them."""
        return ("enabled", "duty")

    def start(self, feed: Feed) -> None:
        if self._run:
            raise Misuse(f"{self._info.id} was started already: stop() it first")
        self._run = run = self._prepare(feed)
        self._begin(run)
        for thread in run.threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        run, give_up = self._run, time.monotonic() + timeout
        if not run:
            return
        run.stopping = True
        self._end(run)
        self._interrupt()
        for thread in run.threads:
            if thread.ident:  # the system may have refused to start all of them
                thread.join(max(0.0, give_up - time.monotonic()))
        if late := sum(thread.is_alive() for thread in run.threads):
            threads = f"{late} of its {len(run.threads)} threads" if len(run.threads) > 1 else "its thread"
            raise DeviceFault(f"{self._info.id} is not off: {threads} still at work after {timeout} s")
        with self._wake:
            self._run = None

    def apply(self, settings: Settings) -> Settings:
        takes = self._takes()
        for item in fields(settings):
            if item.name not in takes and getattr(settings, item.name) is not None:
                raise SettingRefused(f"{self._info.id} has no {item.name} to set: it takes {' and '.join(takes)}")
        if settings.duty is not None and not 0 <= settings.duty <= 1:
            raise SettingRefused(f"duty is a share of the time, 0 to 1, not {settings.duty}")
        self._set(settings)
        self._interrupt()
        return settings

    def _set(self, settings: Settings) -> None:
        """Tell the threads. Raises SettingRefused before anything is told."""
        if settings.enabled is not None:
            self._controls.enabled = settings.enabled
        if settings.duty is not None:
            self._controls.duty = settings.duty

    def _thread(self, run: R, body: Callable[[], None], name: str | None = None) -> threading.Thread:
        """A thread of a run, not started. What its body raises ends the run as its fault, and nothing else."""

        def contained() -> None:
            try:
                body()
            except Exception as error:  # noqa: BLE001 # whatever it is, the device is dead and the miner goes on
                run.fault = run.fault or str(error) or type(error).__name__
                run.stopping = True
                self._log("device_failed", device=self._info.id, error=repr(error))
                run.feed.interrupt()

        return threading.Thread(target=contained, name=name or self._info.id, daemon=True)

    def _interrupt(self) -> None:
        """Let the threads look around. From any thread."""
        with self._wake:
            if self._run:
                self._run.feed.interrupt()
