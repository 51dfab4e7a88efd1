"""One interface over all boards: what the device's thread and its supervisor need from an opened one.

    off() -> bring_up() -> set_frequency() ... send() / receive() ... off()

`send`, `set_frequency`, `set_ticket` and `bring_up` belong to the device's thread; `receive`, between `bring_up` and
`off`, to the one that listens, which may be another. `sensors` and `off` may come from the supervisor's thread at any
moment, also while another call runs. Nothing blocks for longer than 1 s without looking at whether it was turned off
meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from backends.base import Work


class Sensor(Enum):
    """What a board can be asked for; the names are those of telemetry."""

    CHIP_C = "chip"
    REGULATOR_C = "regulator"
    BOARD_C = "board"
    INPUT_V = "input"
    CORE_V = "core"
    INPUT_A = "input-current"
    FAN_RPM = "fan"
    FAN_TOLD = "fan-told"  # what the fan is told, 0 .. 1
    POWER_W = "power"


@dataclass(frozen=True, slots=True)
class Limits:
    """From a cited source, or absent. Degrees Celsius, hertz."""

    frequencies_hz: tuple[float, ...]  # rising; the first is where an unproven board starts and stays
    default_hz: float
    throttle_c: float | None  # from here on it is slowed down
    cutoff_c: float | None  # from here on it is turned off
    resume_c: float | None  # below this it may start again
    regulator_throttle_c: float | None = None  # as throttle_c, of Sensor.REGULATOR_C


@dataclass(frozen=True, slots=True)
class BoardKind:
    """A model of board: data only."""

    name: str  # as `--virtual` and the documentation call it: "compac-f"
    title: str  # as people call it: "GekkoScience Compac F"
    chip: str  # "BM1397"
    chips: int
    sensors: frozenset[Sensor]  # those that a healthy board has: any of them unreadable is unsafe
    limits: Limits
    hashes_per_hz: float  # of the whole board: nominal hashes a second per hertz of core clock
    proven: bool  # seen on hardware; False needs `allow_unproven`
    chip_c_when_off: bool = True  # whether its temperature can be read while it is off


@dataclass(frozen=True, slots=True)
class Readings:
    """One look at the sensors. A sensor that could not be read is absent, and `problem` says why."""

    values: dict[Sensor, float]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Nonce:
    """A result as the chip reported it, matched to the work it belongs to. Values are full header values.

    It lies inside the work's lease and comes once; whether it hashes to anything is for the feed to find out.
    """

    work: Work
    nonce: int
    version: int
    ntime: int
    chip: int | None  # position in the chain; None: not told by this chip
    core: int | None


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that were no answer, or an answer to nothing sent: counted, never followed."""

    reason: str  # one of a fixed few: "crc", "noise", "unknown-job", "outside", "duplicate"
    count: int = 1


class Board(Protocol):
    """Raises DeviceGone, DeviceFault (it answered wrongly), SettingRefused, Misuse."""

    @property
    def kind(self) -> BoardKind: ...

    def bring_up(self) -> int:
        """Power, reset, count and address the chips, raise the baud rate: at its lowest clock, without work.

        Answers how many chips there are. Raises DeviceFault when that is none, or it was turned off meanwhile.
        """
        ...

    def set_frequency(self, hertz: float) -> float:
        """Go towards this clock by one step of the ramp at most, never above it; answers the clock that is now set.

        Waits until the step before it has settled. The ramp has arrived when it answers `hertz`, which it does for
        every clock in the kind's table, or the same twice.
        """
        ...

    def set_ticket(self, target: int) -> int:
        """Set the chips' own filter to be at most as hard as this target; answers the filter's target."""
        ...

    def send(self, work: Work) -> float | None:
        """Give all chips the next piece of this work; answers the seconds for which they have enough to do.

        The first call with a work begins its lease, each further one goes on in it (next versions, then next ntime):
        nothing is sent twice. None: the lease is used up and nothing was sent; take a new one. A piece replaces the
        one that runs; results of the last few stay answerable, whichever work they are of.
        """
        ...

    def receive(self, timeout_s: float) -> list[Nonce | Garbage]:
        """What arrived, waiting `timeout_s` for the first byte."""
        ...

    def sensors(self) -> Readings:
        """Ask the board now, within 1 s; empty `values` for a kind without sensors."""
        ...

    def off(self) -> None:
        """Chips in reset, regulator off where there is one: from any state, idempotent, the first thing and the last.

        Everything after it but `bring_up` is Misuse.
        """
        ...

    def close(self) -> None:
        """Give the bridges back. Does not turn off: whoever closes called `off` before."""
        ...
