"""The one interface between the work manager and anything that hashes.

A backend finds devices of one kind and opens them. A device takes work from its feed in threads of its own and reports
hits to the feed. Nothing here knows a pool, a coinbase or the operator's configuration. Third parties register their
backends in the entry-point group `miner.backends`. Every device must pass the suite in `tests/contract`.

Life of a device; all methods but `telemetry` are called from one thread at a time:

    probe() -> DeviceInfo -> open() -> Device: start(feed) <-> stop()      apply() at any time
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

ENTRY_POINT_GROUP = "miner.backends"
NONCES = 1 << 32
TOP_WORD = (1 << 224) - 1  # a filter that compares only the hash's top word lets hashes up to target | TOP_WORD pass
_U32 = NONCES - 1


class BackendError(Exception):
    """Base class of every error that a backend raises."""


class Misuse(BackendError):
    """The caller broke the contract: a defect of this program."""


class SettingRefused(BackendError):
    """The device cannot or must not take this setting. The message names the setting and the reason."""


class DeviceFault(BackendError):
    """The device answered wrongly: its answers cannot be trusted."""


class DeviceGone(BackendError):
    """The device does not answer any more: unplugged, hung, or taken by another program."""


class Kind(StrEnum):
    """The sort of metal, as an operator selects it with --backend and --device."""

    CPU = "cpu"
    GPU = "gpu"
    ASIC = "asic"


class Capability(StrEnum):
    """What `Device.apply` can change and which dimensions of a lease the device rolls itself."""

    DUTY = "duty"
    POWER = "power"
    FREQUENCY = "frequency"
    VOLTAGE = "voltage"
    FAN = "fan"
    ROLLS_VERSION = "rolls-version"
    ROLLS_NTIME = "rolls-ntime"


@dataclass(frozen=True, slots=True)
class Work:
    """A lease on a rectangle of headers: 2^32 nonces x the versions under the mask x ntime .. ntime + ntime_span.

    No other device searches this rectangle, even if this one leaves parts of it. `prev_hash` and `merkle_root` are 32
    bytes in header order. `target` is the largest hash to report: the easiest of share, network and health target.
    """

    id: int  # process-unique, rising
    epoch: int  # 32 bits: the feed's epoch when the work was taken, or the epoch that the work was staged for
    prev_hash: bytes
    merkle_root: bytes
    version: int
    version_mask: int  # version & version_mask == 0, so that OR, XOR and replace are the same from here down
    ntime: int
    ntime_span: int  # seconds; 0: ntime stays
    nbits: int
    target: int

    def __post_init__(self) -> None:
        if len(self.prev_hash) != 32 or len(self.merkle_root) != 32:
            raise Misuse("previous hash and merkle root are 32 bytes each")
        words = (self.epoch, self.version, self.version_mask, self.ntime, self.nbits)
        if min(words) < 0 or max(words) > _U32:
            raise Misuse(f"epoch, version, version mask, ntime or nbits does not fit 32 bits: {words}")
        if self.version & self.version_mask:
            raise Misuse(f"version {self.version:08x} has bits under its mask {self.version_mask:08x}")
        if not 0 <= self.ntime_span <= _U32 - self.ntime:
            raise Misuse(f"ntime {self.ntime} cannot run {self.ntime_span} s ahead")
        if not 0 < self.target < 1 << 256:
            raise Misuse(f"target out of range: {self.target:#x}")

    def header(self, nonce: int, version: int, ntime: int) -> bytes:
        """The 80 bytes that are hashed; `version` and `ntime` are full header values."""
        return struct.pack("<I32s32sIII", version, self.prev_hash, self.merkle_root, ntime, self.nbits, nonce)

    def covers(self, nonce: int, version: int, ntime: int) -> bool:
        """Whether the header lies inside the lease."""
        return (
            0 <= nonce <= _U32
            and version & ~self.version_mask == self.version
            and self.ntime <= ntime <= self.ntime + self.ntime_span
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """A header that a device believes to be at most its work's target: full header values."""

    work: Work
    nonce: int
    version: int
    ntime: int

    def hash(self) -> int:
        """The header's double SHA-256 as the number that targets are compared with (hashlib, not the kernel)."""
        header = self.work.header(self.nonce, self.version, self.ntime)
        return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")


class Verdict(Enum):
    """The feed's judgement of a hit, which it has hashed again."""

    GOOD = "good"  # at most the target, inside the lease, new
    BELOW = "below"  # a real hash that meets the device's ticket but not the target: expected, not counted
    DUPLICATE = "duplicate"  # reported before for the same work
    STALE = "stale"  # right, but its job is dead
    OUTSIDE = "outside"  # not in the lease: a driver's mistake
    WRONG = "wrong"  # its hash misses the target that the device was given: a hardware error


class Feed(Protocol):
    """Gives work to one device and takes its results. Thread-safe; never waits for the event loop."""

    @property
    def epoch(self) -> int:
        """The number in `cancel`. It rises when the device must drop running work at once."""
        ...

    @property
    def cancel(self) -> NDArray[np.uint32]:
        """Shape (1,): the epoch. A kernel returns when this differs from its work's epoch."""
        ...

    def take(self, timeout: float) -> Work | None:
        """Return a fresh lease, waiting up to `timeout` seconds. None: there is no work; be idle and call again."""
        ...

    def fresh(self, work: Work) -> bool:
        """Whether this work is still the best to do. If not, drop it at the next convenient point and call `take`."""
        ...

    def wait(self, epoch: int, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the epoch differs from `epoch`. Return whether it does."""
        ...

    def interrupt(self) -> None:
        """Raise this feed's epoch, so that the device's running kernels return. Leases stay valid."""
        ...

    def before_replacing(self, stage: Callable[[int], None] | None) -> None:
        """Register `stage`. It is called with the new epoch just before better work replaces the running work.

        A device can then have its next work ready before it gives up the old. During the call `take` already returns
        the better work, and nothing else raises the epoch. `stage` runs on the event-loop thread and must not block.
        Pass None to unregister; once that call returns, no callback is running.
        """
        ...

    def found(self, hit: Hit, ticket: int = 0) -> Verdict:
        """Hash the hit again and judge it.

        `ticket`: the target of the device's own filter, if that is easier than the work's target. A filter that
        compares only the hash's top word needs no ticket.
        """
        ...

    def worked(self, work: Work, hashes: int) -> None:
        """Count `hashes` hashes that the device has done on this work since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Rest:
    """A safety cut-off and the rest after it. The device starts again by itself."""

    reason: str  # why the device was turned off
    since: float  # Unix time of the cut-off
    until: float  # Unix time before which the device does not start; it also has to be cool


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """The facts about a device that are known without opening it."""

    id: str  # stable across restarts and replugging: "cpu:0", "opencl:0000:01:00.0", "asic:SERIAL"
    backend: str
    kind: Kind
    model: str
    virtual: bool = False  # emulated: real hashes at most, never real watts
    expected_hps: float | None = None  # hashes a second; None: not known before it ran
    serial: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    unusable: str | None = None  # why it cannot mine, and what would change that; None: it can
    harmless: bool = False  # an unusable device that nobody misses: not a miner, or a card that is listed twice
    resting: Rest | None = None  # the cut-off it rests after; None: it may start at once
    on_request: str | None = None  # why it mines only when it is named; None: it mines by default
    details: tuple[tuple[str, str], ...] = ()  # for people: driver, features, kernels and why not a faster one


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings to apply, in SI base units; duty and fan are 0 .. 1. None leaves a setting as it is."""

    enabled: bool | None = None
    duty: float | None = None
    power_w: float | None = None
    frequency_hz: float | None = None
    voltage_v: float | None = None
    fan: float | None = None


class State(StrEnum):
    """The state of a device, as telemetry and alarms show it."""

    OFF = "off"
    STARTING = "starting"
    MINING = "mining"
    IDLE = "idle"  # nothing to do
    PAUSED = "paused"  # kept from mining: by a setting, a hold or a safety rest
    SICK = "sick"  # hashes badly or not at all; about to be restarted
    DEAD = "dead"  # given up until a person acts or the miner restarts


@dataclass(frozen=True, slots=True)
class Reading:
    """One sensor's value in SI base units (degrees Celsius for temperatures)."""

    sensor: str
    value: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The last readings of a device. An unknown value is None, never 0."""

    state: State
    fault: str | None = None  # why it is sick or dead, in a sentence
    activity: str | None = None  # "compiling sha-vector16", the kernel in use, the ramp step
    power_w: float | None = None
    power_source: str | None = None  # rapl, nvml, hwmon, usb, meter, model
    power_limit_w: float | None = None  # the limit that the device enforces
    temperatures_c: tuple[Reading, ...] = ()
    fans_rpm: tuple[Reading, ...] = ()
    fan: float | None = None  # the fan setting, 0 .. 1
    frequency_hz: float | None = None
    voltage_v: float | None = None
    duty: float | None = None
    expected_hps: float | None = None  # at the present settings


class Device(Protocol):
    """An open device."""

    @property
    def info(self) -> DeviceInfo: ...

    def start(self, feed: Feed) -> None:
        """Begin to mine from this feed and return at once. May follow `stop`. Raises Misuse if the device runs."""
        ...

    def stop(self, timeout: float) -> None:
        """Turn the device off. Once this returns, the device calls its feed no more. Idempotent.

        Raises DeviceFault when the device is not off after `timeout` seconds.
        """
        ...

    def apply(self, settings: Settings) -> Settings:
        """Return the settings that took effect. Raises SettingRefused if any is refused; then none takes effect."""
        ...

    def telemetry(self) -> Telemetry:
        """The last readings. Does no I/O, takes no lock that hashing holds, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What the program offers to its backends."""

    state_dir: Path | None = None  # for caches and latches; None: keep nothing
    # log(event, **values), any thread. The event's level is the one in docs/reference/events.md; a plug-in adds
    # level="info", "warning" or "error" for its own events, which are warnings without it.
    log: Callable[..., None] = field(default=lambda *_a, **_k: None)


@runtime_checkable
class Backend(Protocol):
    """Finds and opens devices of one kind. An entry point names a class of this shape."""

    name: str
    Options: type[Any]  # a pydantic model: owns and validates [backends.NAME] of the configuration

    def __init__(self, options: Any, host: Host) -> None: ...

    def probe(self) -> list[DeviceInfo]:
        """Every device of this kind in the machine, usable or not. Writes to no device and compiles nothing."""
        ...

    def open(self, info: DeviceInfo) -> Device:
        """Open this device. Raises DeviceGone when it is no longer there, BackendError when it is unusable."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed`, on any thread, when `probe` would return something else. Return what ends the watch."""
        ...


@runtime_checkable
class AbsenceHint(Protocol):
    """Optional part of a backend: a hint for an operator who selected this backend and has none of its devices."""

    @property
    def absent(self) -> str: ...


@runtime_checkable
class PowerSwitch(Protocol):
    """Optional part of a backend whose devices go on drawing power without a host."""

    def turn_off(self, info: DeviceInfo) -> None:
        """Put a device that no miner drives into its safest state. Raises BackendError if it may still be on.

        `info` may come from an earlier probe. Find the device anew.
        """
        ...

    def unlatch(self, serial: str) -> bool:
        """Let a device that is kept off for safety start again. Return whether it was kept off. Raises BackendError."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """Optional part of a `PowerSwitch`, for the miner's guard.

    The guard is a process of its own. It turns devices off when their miner was stopped, hangs or has ended.
    """

    def make_ready(self) -> None:
        """Load all modules and libraries that `turn_off` needs. Opens no device, starts no thread."""
        ...

    def trip(self, info: DeviceInfo, reason: str) -> None:
        """Record that this device is turned off for safety from outside: it rests, and may be latched.

        `reason` is a sentence for the operator. The guard waits a second for all records, so this must be quick.
        Raises BackendError when nothing can be recorded.
        """
        ...


@runtime_checkable
class Supervised(Protocol):
    """Optional part of a device whose power is watched by a thread of its own, its supervisor.

    The miner tells its guard that all is well only while each of these supervisors reports.
    """

    def unwatched_s(self) -> float | None:
        """Seconds since the supervisor finished its last look; None while the device has no power to watch.

        Any thread may call it. It does no I/O, takes no lock that a driver may hold, and never raises.
        """
        ...
