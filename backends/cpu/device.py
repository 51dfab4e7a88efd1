"""The processor as one device: its hash threads, what they are told, and what becomes of one that fails.

OFF --start--> STARTING --first kernel--> MINING <-> IDLE, PAUSED       any --stop--> OFF
any --a thread raises--> all threads end: DEAD, until stop
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from backends.base import (
    DeviceFault,
    DeviceInfo,
    Feed,
    Misuse,
    SettingRefused,
    Settings,
    State,
    Telemetry,
)

from .forge import Forge
from .hasher import Controls, Hasher
from .priority import Priority, give_way

_TAKES = ("enabled", "duty")
_SHOWN = (State.MINING, State.STARTING, State.PAUSED, State.IDLE)  # of several threads, the first that any is in


@dataclass(slots=True)
class _Run:
    """From a start() to its stop()."""

    feed: Feed
    hashers: list[Hasher] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    stopping: bool = False
    fault: str | None = None

    def stage(self, epoch: int) -> None:
        for hasher in self.hashers:
            hasher.stage(epoch)


class CpuDevice:
    """Implements `backends.base.Device`. placement: the core to bind each thread to, None: to none."""

    def __init__(
        self,
        info: DeviceInfo,
        forge: Forge,
        placement: Sequence[int | None],
        *,
        priority: Priority = Priority.LOW,
        duty: float = 1.0,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self._info = info
        self._forge = forge
        self._placement = placement
        self._priority = priority
        self._controls = Controls(duty=duty)
        self._log = log
        self._run: _Run | None = None
        self._wake = threading.Lock()  # held to interrupt the feed, so that none is after stop() returned
        forge.changed = self._interrupt

    @property
    def info(self) -> DeviceInfo:
        refused = tuple((f"kernel {name} refused", why) for name, why in self._forge.refused.items())
        return replace(self._info, details=self._info.details + refused)

    def start(self, feed: Feed) -> None:
        if self._run:
            raise Misuse(f"{self._info.id} was started already: stop() it first")
        run = _Run(feed)
        for number, core in enumerate(self._placement):
            hasher = Hasher(feed, self._controls, self._forge, lambda: run.stopping)
            name = f"{self._info.id}/{number}"
            run.hashers.append(hasher)
            run.threads.append(threading.Thread(target=self._hash, args=(run, hasher, core), name=name, daemon=True))
        self._run = run
        feed.before_replacing(run.stage)
        self._forge.begin()
        for thread in run.threads:
            thread.start()

    def stop(self, timeout: float) -> None:
        run, give_up = self._run, time.monotonic() + timeout
        if not run:
            return
        run.stopping = True
        run.feed.before_replacing(None)
        self._forge.rest()
        self._interrupt()
        for thread in run.threads:
            if thread.ident:  # the system may have refused to start all of them
                thread.join(max(0.0, give_up - time.monotonic()))
        if late := sum(thread.is_alive() for thread in run.threads):
            raise DeviceFault(f"{late} of {len(run.threads)} threads of {self._info.id} still run after {timeout} s")
        with self._wake:
            self._run = None

    def apply(self, settings: Settings) -> Settings:
        for item in fields(settings):
            if item.name not in _TAKES and getattr(settings, item.name) is not None:
                raise SettingRefused(f"{self._info.id} has no {item.name} to set: a processor takes enabled and duty")
        if settings.duty is not None and not 0 <= settings.duty <= 1:
            raise SettingRefused(f"duty is a share of the time, 0 to 1, not {settings.duty}")
        if settings.enabled is not None:
            self._controls.enabled = settings.enabled
        if settings.duty is not None:
            self._controls.duty = settings.duty
        self._interrupt()
        return settings

    def telemetry(self) -> Telemetry:
        run, forge, duty = self._run, self._forge, self._controls.duty
        refused = "; ".join(f"kernel {name} is not used: {why}" for name, why in forge.refused.items())
        search, busy_with = forge.search, forge.doing
        doing = [search.name] if search else []
        doing += [busy_with] if busy_with else []
        return Telemetry(
            state=_state(run),
            fault=(run and run.fault) or refused or None,
            activity=", ".join(doing) or None,
            duty=duty,
            expected_hps=_expected(run, duty),
        )

    def _interrupt(self) -> None:
        with self._wake:
            if self._run:
                self._run.feed.interrupt()

    def _hash(self, run: _Run, hasher: Hasher, core: int | None) -> None:
        """The body of a hash thread: whatever goes wrong in it ends here, as a dead device."""
        try:
            self._settle(core)
            hasher.run()
        except Exception as e:  # noqa: BLE001
            run.fault = run.fault or str(e) or type(e).__name__
            run.stopping = True
            self._log("device_failed", device=self._info.id, error=repr(e))
            run.feed.interrupt()

    def _settle(self, core: int | None) -> None:
        try:
            give_way(self._priority)
            if core is not None:
                os.sched_setaffinity(0, {core})
        except OSError as e:  # a container's policy: hashing where and how the system likes is still hashing
            self._log("hash_thread_not_placed", device=self._info.id, core=core, reason=str(e))


def _state(run: _Run | None) -> State:
    if not run:
        return State.OFF
    if run.fault:
        return State.DEAD
    states = {hasher.state for hasher in run.hashers}
    return next(state for state in _SHOWN if state in states)


def _expected(run: _Run | None, duty: float) -> float | None:
    """What the threads together do at their best; None until each has been measured."""
    rates = [hasher.best_hps for hasher in run.hashers] if run else []
    known = [rate for rate in rates if rate is not None]
    return sum(known) * duty if known and len(known) == len(rates) else None
