"""What a miner's guard decides, without a clock, a socket or a process.

    WATCHING --miner has ended------------------------------------------------> TURNING OFF --all tried--> Leave
        |                                                                           ^
        +--silent while a device is on--> RECORDING --recorded--> KILLED --ended----+

The miner says which of its devices may have power, and beats while every supervisor of such a device reports. When the
beats stop, the guard records a trip for the devices that nobody watched, kills the miner and turns its devices off.
Each attempt to turn a device off may fail or hang, so it is repeated after growing pauses.

Silence is counted only while the guard itself runs: one gap between two events counts `STEP_S` at most. A machine or a
control group that was frozen as a whole and thaws thus gives its miner time to beat again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

ON, OFF, LATE, BEAT = "+", "-", "?", "."  # how each message of the miner begins; a device's id follows all but BEAT
MESSAGE_MAX = 1024  # bytes
DEVICES_MAX = 1024
SILENCE_S = 10.0  # without a beat, until the miner is killed
STEP_S = 5.0  # counted for one gap at most
RECORD_S = 1.0  # what recording a trip may take before the kill
END_S = 5.0  # what the miner's end may take before its devices are turned off all the same
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 30.0, 30.0)  # between the attempts to turn a device off


@dataclass(frozen=True, slots=True)
class Heard:
    """Event: a message of the miner's."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """Event: the miner has ended, and so given up its devices."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Event: time passes."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """Event: an attempt to record the trips is over, whatever came of it."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Event: an attempt to turn this device off is over."""

    device: str
    is_off: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Effect: tell the miner that its beat was heard."""


@dataclass(frozen=True, slots=True)
class Record:
    """Effect: say why, and record a trip for each of these devices. An event `Recorded` follows."""

    devices: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Kill:
    """Effect: kill the miner."""


@dataclass(frozen=True, slots=True)
class TurnOff:
    """Effect: try to turn this device off. An event `Tried` follows."""

    device: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Effect: say that this device may still be on."""

    device: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Effect: the guard's own end."""


Event = Heard | Ended | Tick | Recorded | Tried
Effect = Answer | Record | Kill | TurnOff | GiveUp | Leave


class Phase(Enum):
    """Where the picture above stands."""

    WATCHING = auto()
    RECORDING = auto()
    KILLED = auto()
    TURNING_OFF = auto()


@dataclass(slots=True)
class _Attempts:
    """At turning one device off. `due`: when the next one begins; None: one is under way."""

    made: int = 1
    due: float | None = None


@dataclass(slots=True)
class Watch:
    """One miner, from the guard's start on. `now` is on a clock that stands still while the machine is suspended."""

    now: float
    silence_s: float = SILENCE_S
    phase: Phase = Phase.WATCHING
    _on: dict[str, None] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)  # devices whose supervisors do not report, by the miner's own word
    _silent_s: float = 0.0  # since the last beat
    _unheard_s: float = 0.0  # since the last message of any kind
    _since: float = 0.0  # when the present phase began
    _attempts: dict[str, _Attempts] = field(default_factory=dict)

    @property
    def on(self) -> tuple[str, ...]:
        """The devices that may have power, by the miner's last word."""
        return tuple(self._on)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about it. `now` never falls."""
        self._count(now)
        match event:
            case Heard(message):
                return self._heard(message)
            case Ended():
                return self._ended()
            case Tick():
                return self._tick()
            case Recorded():
                return self._kill() if self.phase is Phase.RECORDING else []
            case Tried(device, is_off):
                return self._tried(device, is_off=is_off)
            case _:
                assert_never(event)

    def _count(self, now: float) -> None:
        gap_s = min(max(now - self.now, 0.0), STEP_S)
        self.now = max(now, self.now)
        self._silent_s += gap_s
        self._unheard_s += gap_s

    def _heard(self, message: bytes) -> list[Effect]:
        if self.phase is Phase.TURNING_OFF:
            return []
        text = message[:MESSAGE_MAX].decode(errors="replace")
        kind, device = text[:1], text[1:]
        if kind in {ON, OFF, LATE, BEAT}:
            self._unheard_s = 0.0
        if text == BEAT:
            self._silent_s = 0.0
            self._late.clear()
            return [Answer()]
        if kind == LATE:
            self._late.add(device)
            self._late &= self._on.keys()
            return [Answer()]
        if kind == ON and len(self._on) < DEVICES_MAX:
            if not self._on:
                self._silent_s = 0.0
            self._on[device] = None
        elif kind == OFF:
            self._on.pop(device, None)
            self._late.discard(device)
        return []

    def _tick(self) -> list[Effect]:
        match self.phase:
            case Phase.WATCHING if self._on and self._silent_s >= self.silence_s:
                return self._record()
            case Phase.RECORDING if self.now - self._since >= RECORD_S:
                return self._kill()
            case Phase.KILLED if self.now - self._since >= END_S:
                return self._ended()
            case Phase.TURNING_OFF:
                return self._again()
        return []

    def _record(self) -> list[Effect]:
        self._enter(Phase.RECORDING)
        if self._late and self._unheard_s < STEP_S:
            devices = tuple(device for device in self._on if device in self._late)
            return [Record(devices, f"its supervisor has not reported for {self._silent_s:.0f} s and longer")]
        return [Record(self.on, f"its miner gave no sign of life for {self._silent_s:.0f} s: it was stopped, or hung")]

    def _kill(self) -> list[Effect]:
        self._enter(Phase.KILLED)
        return [Kill()]

    def _ended(self) -> list[Effect]:
        if self.phase is Phase.TURNING_OFF:
            return []
        self._enter(Phase.TURNING_OFF)
        self._attempts = {device: _Attempts() for device in self._on}
        return [TurnOff(device) for device in self._on] or [Leave()]

    def _tried(self, device: str, *, is_off: bool) -> list[Effect]:
        attempts = self._attempts.get(device)
        if attempts is None or attempts.due is not None:
            return []
        if is_off or attempts.made > len(PAUSES_S):
            del self._attempts[device]
            last: list[Effect] = [] if self._attempts else [Leave()]
            return last if is_off else [GiveUp(device), *last]
        attempts.due = self.now + PAUSES_S[attempts.made - 1]
        return []

    def _again(self) -> list[Effect]:
        effects: list[Effect] = []
        for device, attempts in self._attempts.items():
            if attempts.due is not None and self.now >= attempts.due:
                attempts.made, attempts.due = attempts.made + 1, None
                effects.append(TurnOff(device))
        return effects

    def _enter(self, phase: Phase) -> None:
        self.phase, self._since = phase, self.now
