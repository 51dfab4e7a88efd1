"""The one interface between the work manager and anything that hashes.

A backend finds devices of one kind and opens them; a device takes work from its feed in threads of its own and
hands back what it found. Nothing here knows a pool, a coinbase or the operator's configuration. Third parties plug
in through the entry-point group `miner.backends`; `tests/contract` is the suite that every device must pass.

Life of a device, all methods but `telemetry` called from one thread at a time:

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
TOP_WORD = (1 << 224) - 1  # what a filter on the hash's top word alone lets through beyond the target's own bits
_U32 = NONCES - 1


class BackendError(Exception):
    """Root of what a backend raises."""


class Misuse(BackendError):
    """The caller broke the contract: a defect on our side."""


class SettingRefused(BackendError):
    """The device cannot, or must not, take this setting; the message says which and why."""


class DeviceFault(BackendError):
    """The device answered, and wrongly: what it says cannot be trusted."""


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

    Nobody else searches this rectangle, whatever the device leaves of it. `prev_hash` and `merkle_root` are 32 bytes
    in header order. `target` is what to report: the easiest of share, network and health target, never above it.
    """

    id: int  # process-unique, rising
    epoch: int  # the feed's epoch when it was taken, or the one that it was staged for, 32 bits
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
    """What became of a hit, decided on the spot by hashing it again."""

    GOOD = "good"  # at most the target, inside the lease, new
    BELOW = "below"  # a real hash that meets the device's ticket but not the target: expected, not counted
    DUPLICATE = "duplicate"  # reported before for the same work
    STALE = "stale"  # right, but its job is dead
    OUTSIDE = "outside"  # not in the lease: a driver's mistake
    WRONG = "wrong"  # hashes to something else than the device claims: a hardware error


class Feed(Protocol):
    """Where one device gets work and leaves results. Thread-safe; never waits for the event loop."""

    @property
    def epoch(self) -> int:
        """The number in `cancel`: rises when running work must be dropped at once."""
        ...

    @property
    def cancel(self) -> NDArray[np.uint32]:
        """Shape (1,): the epoch. Kernels compare it with their work's and give up when it differs."""
        ...

    def take(self, timeout: float) -> Work | None:
        """A fresh lease; waits up to `timeout` seconds for one. None: nothing to do, be idle and ask again."""
        ...

    def fresh(self, work: Work) -> bool:
        """Whether this work is still the best to do; if not, drop it at the next convenient point and take anew."""
        ...

    def wait(self, epoch: int, timeout: float) -> bool:
        """Wait until the epoch differs from `epoch`, `timeout` seconds at most; whether it does."""
        ...

    def interrupt(self) -> None:
        """Raise this feed's epoch: the device's own way to make its running kernels return. Leases stay valid."""
        ...

    def before_replacing(self, stage: Callable[[int], None] | None) -> None:
        """Call `stage(epoch)` just before the epoch rises to `epoch` because better work replaces what runs.

        For a device that wants the next work in place before it gives up the old: `take` answers with the better work
        already, and nothing else raises the epoch meanwhile. Called in the thread of whoever serves, so it must be
        quick and wait for nothing. None: no more; after that has returned, none is under way.
        """
        ...

    def found(self, hit: Hit, ticket: int = 0) -> Verdict:
        """Hash the hit again and judge it.

        `ticket`: the target that the device's own filter works at, where it is easier than the work's and easier
        than comparing the hash's top word alone, which every device may do.
        """
        ...

    def worked(self, work: Work, hashes: int) -> None:
        """Account for hashes really done on this work since the last call."""
        ...


@dataclass(frozen=True, slots=True)
class Rest:
    """A safety cut-off that a device rests after; the device starts again by itself."""

    reason: str  # why the device was turned off
    since: float  # Unix time of the cut-off
    until: float  # Unix time before which the device does not start; it also has to be cool


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What is known of a device without opening it."""

    id: str  # stable across restarts and replugging: "cpu:0", "opencl:0000:01:00.0", "asic:SERIAL"
    backend: str
    kind: Kind
    model: str
    virtual: bool = False  # emulated: real hashes at most, never real watts
    expected_hps: float | None = None  # hashes a second; None: not known before it ran
    serial: str | None = None
    capabilities: frozenset[Capability] = frozenset()
    unusable: str | None = None  # why it cannot mine, and what would change that; None: it can
    harmless: bool = False  # nobody misses what is unusable: it is no miner, or a card that is listed once more
    resting: Rest | None = None  # the cut-off it rests after; None: it may start at once
    on_request: str | None = None  # why it mines only when it is named; None: it mines by default
    details: tuple[tuple[str, str], ...] = ()  # for people: driver, features, kernels and why not a faster one


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator or a power manager wants. None leaves a setting as it is; SI base units, duty and fan 0..1."""

    enabled: bool | None = None
    duty: float | None = None
    power_w: float | None = None
    frequency_hz: float | None = None
    voltage_v: float | None = None
    fan: float | None = None


class State(StrEnum):
    """What a device is doing, as telemetry and alarms show it."""

    OFF = "off"
    STARTING = "starting"
    MINING = "mining"
    IDLE = "idle"  # nothing to do
    PAUSED = "paused"  # told not to
    SICK = "sick"  # hashing badly or not at all; being mended
    DEAD = "dead"  # given up until a person or a restart


@dataclass(frozen=True, slots=True)
class Reading:
    """One sensor's value in SI base units (degrees Celsius for temperatures)."""

    sensor: str
    value: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The last snapshot of a device. None for unknown, never 0."""

    state: State
    fault: str | None = None  # why it is sick or dead, in a sentence
    activity: str | None = None  # "compiling sha-vector16", the kernel in use, the ramp step
    power_w: float | None = None
    power_source: str | None = None  # rapl, nvml, hwmon, usb, meter, model
    power_limit_w: float | None = None  # what the device keeps itself under
    temperatures_c: tuple[Reading, ...] = ()
    fans_rpm: tuple[Reading, ...] = ()
    fan: float | None = None  # what the fans are told, 0 .. 1
    frequency_hz: float | None = None
    voltage_v: float | None = None
    duty: float | None = None
    expected_hps: float | None = None  # at the present settings


class Device(Protocol):
    """A device that was opened."""

    @property
    def info(self) -> DeviceInfo: ...

    def start(self, feed: Feed) -> None:
        """Begin to mine from this feed; returns at once. Restartable after stop(). Misuse if it runs already."""
        ...

    def stop(self, timeout: float) -> None:
        """Return when it is off: no call to the feed comes after this one returned. Idempotent.

        Raises DeviceFault when it is not off after `timeout` seconds.
        """
        ...

    def apply(self, settings: Settings) -> Settings:
        """Answer what took effect, None for what was left; SettingRefused when any part is refused (then none did)."""
        ...

    def telemetry(self) -> Telemetry:
        """The last snapshot; does no I/O, takes no lock that hashing holds, never raises."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """What a backend may know of the program around it."""

    state_dir: Path | None = None  # for caches and latches; None: keep nothing
    # log(event, **values), any thread. The event's level is the one in docs/reference/events.md; a plug-in adds
    # level="info", "warning" or "error" for its own events, which are warnings without it.
    log: Callable[..., None] = field(default=lambda *_a, **_k: None)


@runtime_checkable
class Backend(Protocol):
    """Finds and opens devices of one kind. A class with this shape is what an entry point names."""

    name: str
    Options: type[Any]  # a pydantic model: owns and validates [backends.NAME] of the configuration

    def __init__(self, options: Any, host: Host) -> None: ...

    def probe(self) -> list[DeviceInfo]:
        """Everything of this kind in the machine, usable or not. Writes to nothing, compiles nothing."""
        ...

    def open(self, info: DeviceInfo) -> Device:
        """Raises DeviceGone when it is no longer there, BackendError when it is unusable."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` (any thread) when a probe would answer otherwise; returns what ends the watch."""
        ...


@runtime_checkable
class AbsenceHint(Protocol):
    """Optional part of a backend: a hint for an operator who selected this backend and has none of its devices."""

    @property
    def absent(self) -> str: ...


@runtime_checkable
class PowerSwitch(Protocol):
    """What a backend has besides when its devices go on drawing power without a host."""

    def turn_off(self, info: DeviceInfo) -> None:
        """Put a device that no miner drives into its safest state. Raises BackendError when it may not be off.

        `info` may come from an earlier probe. Find the device anew.
        """
        ...

    def unlatch(self, serial: str) -> bool:
        """Let a device start again that is kept off for safety; whether it was. Raises BackendError."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """Optional part of a `PowerSwitch`: what the guard of a miner needs of it besides.

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
