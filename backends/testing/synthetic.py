"""A slow device that hashes with hashlib, and does wrong what it is told to do wrong.

It finds real hits on easy targets, in order from nonce 0 upwards. Its faults are those that supervision must contain.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from enum import Enum, auto

from backends.base import (
    NONCES,
    DeviceFault,
    DeviceInfo,
    Feed,
    Hit,
    Kind,
    Misuse,
    SettingRefused,
    Settings,
    State,
    Telemetry,
    Work,
)

from .contract import hits_among

_SLICE = 64  # hashes between two looks at the feed
_POLL_S = 0.1


class Fault(Enum):
    """What a synthetic device does wrong."""

    LYING = auto()  # reports nonces that are no hits
    SILENT = auto()  # takes work and is not heard of again
    CRASHING = auto()  # its thread raises after the first slice
    SLOW_STOP = auto()  # hashes on for a while after it was told to stop
    DUPLICATE = auto()  # reports each hit twice
    OUTSIDE = auto()  # reports versions that its lease does not hold
    IDLING = auto()  # claims hashes that it never did
    STICKY = auto()  # does not let go of dead work


@dataclass(slots=True)
class _Run:
    feed: Feed
    stopping: bool = False
    fault: str | None = None
    state: State = State.STARTING
    thread: threading.Thread | None = None


class SyntheticDevice:
    """Implements `backends.base.Device`. rate_hps: as fast as Python, at most; lag_s: of SLOW_STOP."""

    def __init__(
        self,
        name: str = "synthetic:0",
        *,
        rate_hps: float = 1 << 14,
        fault: Fault | None = None,
        lag_s: float = 0.3,
    ) -> None:
        self.info = DeviceInfo(name, "synthetic", Kind.CPU, "hashlib", virtual=True, expected_hps=rate_hps)
        self._pace_s = _SLICE / rate_hps
        self._fault = fault
        self._lag_s = lag_s
        self._enabled = True
        self._run: _Run | None = None

    def start(self, feed: Feed) -> None:
        if self._run:
            raise Misuse(f"{self.info.id} runs already")
        run = self._run = _Run(feed)
        run.thread = threading.Thread(target=self._contained, args=(run,), name=self.info.id, daemon=True)
        run.thread.start()

    def stop(self, timeout: float) -> None:
        if not self._run or not self._run.thread:
            return
        self._run.stopping = True
        self._run.feed.interrupt()
        self._run.thread.join(timeout)
        if self._run.thread.is_alive():
            raise DeviceFault(f"{self.info.id} is not off after {timeout} s")
        self._run = None

    def apply(self, settings: Settings) -> Settings:
        if settings != Settings(enabled=settings.enabled):
            raise SettingRefused(f"{self.info.id} can only be switched on and off")
        if settings.enabled is not None:
            self._enabled = settings.enabled
            if self._run:
                self._run.feed.interrupt()
        return settings

    def telemetry(self) -> Telemetry:
        run = self._run
        return Telemetry(run.state, fault=run.fault) if run else Telemetry(State.OFF)

    def _contained(self, run: _Run) -> None:
        try:
            self._mine(run)
        except Exception as e:  # noqa: BLE001 # whatever it is, it ends here, as a device that is dead
            run.state, run.fault = State.DEAD, f"{type(e).__name__}: {e}"

    def _mine(self, run: _Run) -> None:
        feed, work, nonce = run.feed, None, 0
        while True:
            epoch = feed.epoch  # before the flags: what changes them raises it, so that no wait below sleeps through
            if run.stopping:
                break
            if not self._enabled:
                run.state = State.PAUSED
                feed.wait(epoch, _POLL_S)
            elif self._fault is Fault.STICKY and work and nonce < NONCES:
                nonce = self._search(feed, work, nonce)
            elif work is None or nonce == NONCES or not feed.fresh(work):
                work, nonce = feed.take(_POLL_S), 0
                run.state = State.MINING if work else State.IDLE
            elif self._fault is Fault.SILENT:
                feed.wait(epoch, _POLL_S)
            elif not feed.wait(epoch, self._pace_s):
                run.state = State.MINING
                nonce = self._search(feed, work, nonce)
                if self._fault is Fault.CRASHING:
                    raise DeviceFault("crashed on demand")
        if self._fault is Fault.SLOW_STOP:
            time.sleep(self._lag_s)

    def _search(self, feed: Feed, work: Work, nonce: int) -> int:
        nonces = range(nonce, min(nonce + _SLICE, NONCES))
        version = work.version
        found = [] if self._fault is Fault.IDLING else hits_among(work, version, nonces)
        if self._fault is Fault.LYING:
            found = [number ^ 1 << 31 for number in found]
        if self._fault is Fault.DUPLICATE:
            found += found
        if self._fault is Fault.OUTSIDE:
            version ^= ~work.version_mask & 0xFFFFFFFF
        for number in found:
            feed.found(Hit(work, number, version, work.ntime))
        feed.worked(work, len(nonces))
        return nonces.stop
