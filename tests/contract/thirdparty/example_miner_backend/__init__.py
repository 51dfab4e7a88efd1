"""A worked example of a backend: one device that hashes with hashlib, a few thousand headers a second.

`ExampleBackend` is what the entry point names. The miner gives it its section of the configuration, [backends.example],
as a validated `Options`, asks what there is (`probe`) and opens what it wants to use (`open`).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from backends.base import (
    NONCES,
    DeviceFault,
    DeviceGone,
    DeviceInfo,
    Feed,
    Hit,
    Host,
    Kind,
    Misuse,
    SettingRefused,
    Settings,
    State,
    Telemetry,
)

INFO = DeviceInfo(id="example:0", backend="example", kind=Kind.CPU, model="hashlib", virtual=True)


class ExampleOptions(BaseModel):
    """The section [backends.example]; a wrong value ends the miner's start with one clear sentence."""

    model_config = ConfigDict(extra="forbid")

    chunk: int = Field(default=256, ge=1, le=1 << 16, description="nonces between two looks at the feed")


class ExampleBackend:
    """There is one device, and it is always there."""

    name = "example"
    Options = ExampleOptions

    def __init__(self, options: ExampleOptions, host: Host) -> None:
        self._options = options
        self._host = host

    def probe(self) -> list[DeviceInfo]:
        return [INFO]

    def open(self, info: DeviceInfo) -> ExampleDevice:
        if info.id != INFO.id:
            raise DeviceGone(f"there is no {info.id}")
        return ExampleDevice(self._options.chunk)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:  # it never comes or goes
        return lambda: None


class ExampleDevice:
    """One thread between start() and stop().

    Everything that can wait does so in the feed, on an epoch that was read first: feed.interrupt() then ends any wait.
    """

    info = INFO

    def __init__(self, chunk: int) -> None:
        self._chunk = chunk
        self._enabled = True
        self._stopping = False
        self._telemetry = Telemetry(State.OFF)
        self._feed: Feed | None = None
        self._thread: threading.Thread | None = None

    def start(self, feed: Feed) -> None:
        if self._thread:
            raise Misuse("it runs already")
        self._stopping, self._feed, self._telemetry = False, feed, Telemetry(State.STARTING)
        self._thread = threading.Thread(target=self._run, args=(feed,), name=INFO.id, daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        if not self._thread or not self._feed:
            return
        self._stopping = True
        self._feed.interrupt()
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise DeviceFault(f"its thread still runs after {timeout} s")
        self._thread, self._telemetry = None, Telemetry(State.OFF)

    def apply(self, settings: Settings) -> Settings:
        if settings != Settings(enabled=settings.enabled):
            raise SettingRefused("it can be enabled and disabled, and nothing else")
        if settings.enabled is not None:
            self._enabled = settings.enabled
            if self._thread and self._feed:
                self._feed.interrupt()
        return settings

    def telemetry(self) -> Telemetry:
        return self._telemetry  # replaced as a whole by the thread, so that reading it takes no lock

    def _run(self, feed: Feed) -> None:
        try:
            self._mine(feed)
        except Exception as e:  # noqa: BLE001 # the miner sees a dead device, and may restart it
            self._telemetry = Telemetry(State.DEAD, fault=f"{type(e).__name__}: {e}")

    def _mine(self, feed: Feed) -> None:
        work, nonce = None, 0
        while True:
            epoch = feed.epoch
            if self._stopping:
                return
            if not self._enabled:
                self._telemetry = Telemetry(State.PAUSED)
                feed.wait(epoch, 1.0)
            elif work is None or nonce == NONCES or not feed.fresh(work):
                work, nonce = feed.take(1.0), 0
                self._telemetry = Telemetry(State.MINING if work else State.IDLE)
            else:
                self._telemetry = Telemetry(State.MINING)
                end = min(nonce + self._chunk, NONCES)
                for number in range(nonce, end):
                    header = work.header(number, work.version, work.ntime)
                    digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
                    if int.from_bytes(digest, "little") <= work.target:
                        feed.found(Hit(work, number, work.version, work.ntime))
                feed.worked(work, end - nonce)
                nonce = end
