"""A slow device that hashes with hashlib, and does wrong what it is told to do wrong.

It finds real hits on easy targets, in order from nonce 0 upwards. Its faults are those that supervision must contain.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from backends.base import NONCES, DeviceFault, DeviceInfo, Feed, Hit, Kind, State, Telemetry, Work
from backends.threaded import Controls, Run, ThreadedDevice

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
class _Run(Run):
    state: State = State.STARTING


class SyntheticDevice(ThreadedDevice[_Run, Controls]):
    """Implements `backends.base.Device`. rate_hps: as fast as Python, at most; lag_s: of SLOW_STOP."""

    def __init__(
        self,
        name: str = "synthetic:0",
        *,
        rate_hps: float = 1 << 14,
        fault: Fault | None = None,
        lag_s: float = 0.3,
    ) -> None:
        info = DeviceInfo(name, "synthetic", Kind.CPU, "hashlib", virtual=True, expected_hps=rate_hps)
        super().__init__(info, Controls())
        self._pace_s = _SLICE / rate_hps
        self._fault = fault
        self._lag_s = lag_s

    def telemetry(self) -> Telemetry:
        run = self._run
        if run is None:
            return Telemetry(State.OFF)
        return Telemetry(State.DEAD if run.fault else run.state, fault=run.fault)

    def _takes(self) -> Collection[str]:
        return ("enabled",)

    def _prepare(self, feed: Feed) -> _Run:
        run = _Run(feed)
        run.threads.append(self._thread(run, lambda: self._mine(run)))
        return run

    def _mine(self, run: _Run) -> None:
        feed, work, nonce = run.feed, None, 0
        while True:
            epoch = feed.epoch  # before the flags: what changes them raises it, so that no wait below sleeps through
            if run.stopping:
                break
            if not self._controls.enabled:
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
