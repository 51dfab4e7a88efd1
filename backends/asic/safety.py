"""Decides whether a board may be on, and how fast, from its sensors and its driver's signs of life. It has no clock.

               a step slower while too hot, a step faster once calm
                     +---+
                     v   |
      start ---------> ALLOWED --------------------------------------> TRIPPED (off)
                          ^      hot beyond the cut-off, or long at      |   |
                          |      the lowest clock; sensors unreadable    |   |
                          |      or stale; driver hung                   |   | too many trips within `window_s`
                          +------------ rested, and cool again ----------+   v
                            at the lowest clock, then step by step        LATCHED (until a person says so)

A sensor that cannot be read, or reads an impossible value, is unsafe. The clock falls to its lowest at once, and the
board is turned off if that lasts. Sources of the limits: each board's own module.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from backends.asic.boards.board import Limits, Readings, Sensor

_PLAUSIBLE_C = (-40.0, 150.0)
_HYSTERESIS_C = 5.0  # a board this far below the throttle limit is calm
_COOLER_C = 10.0, 20.0  # resume this far below throttle, else cut-off, if the board's source names no temperature
_TEMPERATURES = (Sensor.CHIP_C, Sensor.REGULATOR_C, Sensor.BOARD_C)


@dataclass(frozen=True, slots=True)
class Patience:
    """Time limits, and how many faults are allowed."""

    bad_looks: int = 3  # bad readings in a row before the board is turned off
    stale_s: float = 5.0  # without a good reading, before the same
    hung_s: float = 10.0  # without a sign of life from the driver, before the same
    step_s: float = 5.0  # between two steps slower
    calm_s: float = 30.0  # before a step faster
    rest_s: float = 60.0  # the least time off after a trip
    blind_rest_s: float = 300.0  # the same if the temperature cannot be read while the board is off
    trips: int = 3  # within the window, before the board is latched
    window_s: float = 3600.0

    def longest_rest_s(self, sensors: frozenset[Sensor]) -> float:
        """Seconds after a cut-off during which a board with these sensors starts only once they were read."""
        return self.blind_rest_s if Sensor.CHIP_C in sensors else self.rest_s

    def latching(self, reason: str, ages_s: Iterable[float]) -> str | None:
        """Why a board is latched after a trip for this reason; None: it may start again after its rest.

        `ages_s`: how long ago each of its trips was, the new one included.
        """
        recent = sum(age_s < self.window_s for age_s in ages_s)
        if recent < self.trips:
            return None
        return f"{reason}; turned off {recent} times within {self.window_s / 60:.0f} minutes"


@dataclass(frozen=True, slots=True)
class Look:
    """Event: a reading of the sensors. `settled`: the board's start is over, so all sensors must answer."""

    readings: Readings
    settled: bool
    clock_hz: float = math.inf  # the board's clock


@dataclass(frozen=True, slots=True)
class Tick:
    """Event: time passes. `on`: the board may have power. `driver_age_s`: since the driver's last sign of life."""

    on: bool
    settled: bool
    driver_age_s: float


@dataclass(frozen=True, slots=True)
class CutOff:
    """Effect: turn off reset line and regulator at once."""

    reason: str


@dataclass(frozen=True, slots=True)
class Latch:
    """Effect: keep the board off, also after restarts, until a person unlatches it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Slower:
    """Effect: lower the ceiling of the clock to this."""

    ceiling_hz: float
    reason: str


@dataclass(frozen=True, slots=True)
class Faster:
    """Effect: raise the ceiling of the clock to this."""

    ceiling_hz: float


@dataclass(frozen=True, slots=True)
class Release:
    """Effect: the board may start again."""


SafetyEffect = CutOff | Latch | Slower | Faster | Release


class Standing(Enum):
    """Where the picture above stands."""

    ALLOWED = auto()
    TRIPPED = auto()
    LATCHED = auto()


class Safety:
    """The state machine of one board."""

    def __init__(  # noqa: PLR0917 # the last two only after a restart
        self,
        limits: Limits,
        sensors: frozenset[Sensor],
        now: float,
        patience: Patience | None = None,
        tripped_at: Iterable[float] = (),
        latched: str | None = None,
    ) -> None:
        """`limits`: the board's, or stricter. `tripped_at`: earlier trips on the clock of `now`, oldest first."""
        self._limits = limits
        self._sensors = sensors
        self._patience = patience or Patience()
        self._trips = list(tripped_at)
        self._step = len(limits.frequencies_hz) - 1
        self._stepped_at = self._good_at = now
        self._bad = 0
        self.standing = Standing.ALLOWED
        self.reason = latched  # why it is off, or slower
        if latched is not None:
            self.standing = Standing.LATCHED
        elif self._trips and now - self._trips[-1] < self._patience.longest_rest_s(sensors):
            self.standing, self.reason = Standing.TRIPPED, "turned off for safety shortly before"

    @property
    def ceiling_hz(self) -> float:
        """The highest clock that is allowed now."""
        return self._limits.frequencies_hz[self._step]

    def handle(self, event: Look | Tick, now: float) -> list[SafetyEffect]:
        """Return what to do about this event."""
        match self.standing:
            case Standing.LATCHED:
                return []
            case Standing.TRIPPED:
                return self._rest(event, now) if isinstance(event, Look) else []
            case Standing.ALLOWED:
                return self._look(event, now) if isinstance(event, Look) else self._tick(event, now)

    def _tick(self, event: Tick, now: float) -> list[SafetyEffect]:
        if not event.settled:
            self._good_at = now
        if event.on and event.driver_age_s > self._patience.hung_s:
            return self._trip(f"its driver has hung for {event.driver_age_s:.0f} s", now)
        if event.settled and self._sensors and now - self._good_at > self._patience.stale_s:
            return self._trip(f"its sensors have said nothing for {now - self._good_at:.0f} s", now)
        return []

    def _look(self, look: Look, now: float) -> list[SafetyEffect]:
        values = look.readings.values
        if hot := self._beyond_cutoff(values):
            return self._trip(hot, now)
        if look.settled and (bad := self._unreadable(look.readings)):
            return self._unsafe(bad, now)
        self._good_at, self._bad = now, 0
        if hot := self._beyond_help(values, now):
            return self._trip(hot, now)
        if warm := self._beyond_throttle(values):
            return self._slower(warm, look.clock_hz, now)
        return self._faster(values, now)

    def _unsafe(self, bad: str, now: float) -> list[SafetyEffect]:
        self._bad += 1
        if self._bad >= self._patience.bad_looks:
            return self._trip(f"{bad}, {self._bad} times in a row", now)
        self._stepped_at = now
        if not self._step:
            return []
        self._step, self.reason = 0, bad
        return [Slower(self.ceiling_hz, bad)]

    def _slower(self, warm: str, clock_hz: float, now: float) -> list[SafetyEffect]:
        if not self._step or now - self._stepped_at < self._patience.step_s:
            return []
        below = (step for step, clock in enumerate(self._limits.frequencies_hz[: self._step]) if clock < clock_hz)
        self._step = max(below, default=0)
        self._stepped_at, self.reason = now, warm
        return [Slower(self.ceiling_hz, warm)]

    def _faster(self, values: dict[Sensor, float], now: float) -> list[SafetyEffect]:
        top = len(self._limits.frequencies_hz) - 1
        if self._step == top:
            return []
        if self._beyond_throttle(values, _HYSTERESIS_C):
            self._stepped_at = now
        if now - self._stepped_at < self._patience.calm_s:
            return []
        self._step += 1
        self._stepped_at = now
        if self._step == top:
            self.reason = None
        return [Faster(self.ceiling_hz)]

    def _rest(self, look: Look, now: float) -> list[SafetyEffect]:
        rested_s = now - self._trips[-1]
        chip_c = look.readings.values.get(Sensor.CHIP_C)
        seen = chip_c is not None or Sensor.CHIP_C not in self._sensors
        if rested_s < (self._patience.rest_s if seen else self._patience.blind_rest_s):
            return []
        resume_c = self._resume_c()
        others = [value for sensor, value in look.readings.values.items() if sensor in _TEMPERATURES]
        if resume_c is not None and any(value > resume_c for value in ([chip_c] if chip_c is not None else others)):
            return []
        self.standing, self._step, self._bad = Standing.ALLOWED, 0, 0
        self._good_at = self._stepped_at = now
        return [Release()]

    def _trip(self, reason: str, now: float) -> list[SafetyEffect]:
        self._trips = [*(at for at in self._trips if now - at < self._patience.window_s), now]
        self.standing, self.reason = Standing.TRIPPED, reason
        latching = self._patience.latching(reason, (now - at for at in self._trips))
        if latching is None:
            return [CutOff(reason)]
        self.standing, self.reason = Standing.LATCHED, latching
        return [CutOff(reason), Latch(latching)]

    def _unreadable(self, readings: Readings) -> str | None:
        if missing := sorted(sensor.value for sensor in self._sensors - readings.values.keys()):
            return f"cannot read {', '.join(missing)}: {readings.problem or 'the board does not say why'}"
        if readings.problem is not None:
            return readings.problem
        low, high = _PLAUSIBLE_C
        for sensor in _TEMPERATURES:
            if sensor in readings.values and not low <= readings.values[sensor] <= high:
                return f"{sensor.value} says {readings.values[sensor]:.0f} degrees, which cannot be"
        return None

    def _beyond_cutoff(self, values: dict[Sensor, float]) -> str | None:
        return _beyond(Sensor.CHIP_C, values, self._limits.cutoff_c)

    def _beyond_throttle(self, values: dict[Sensor, float], margin_c: float = 0.0) -> str | None:
        limits = ((Sensor.CHIP_C, self._limits.throttle_c), (Sensor.REGULATOR_C, self._limits.regulator_throttle_c))
        found = (_beyond(sensor, values, None if at is None else at - margin_c) for sensor, at in limits)
        return next((text for text in found if text), None)

    def _beyond_help(self, values: dict[Sensor, float], now: float) -> str | None:
        """Whether a regulator without a cut-off stays hot at the lowest clock."""
        hot = _beyond(Sensor.REGULATOR_C, values, self._limits.regulator_throttle_c)
        slow_s = 0.0 if self._step else now - self._stepped_at
        return f"{hot}, after {slow_s:.0f} s at its lowest clock" if hot and slow_s >= self._patience.calm_s else None

    def _resume_c(self) -> float | None:
        limits, (below_throttle, below_cutoff) = self._limits, _COOLER_C
        if limits.resume_c is not None:
            return limits.resume_c
        if limits.throttle_c is not None:
            return limits.throttle_c - below_throttle
        return None if limits.cutoff_c is None else limits.cutoff_c - below_cutoff


def _beyond(sensor: Sensor, values: dict[Sensor, float], limit_c: float | None) -> str | None:
    value = values.get(sensor)
    if value is None or limit_c is None or value < limit_c:
        return None
    return f"{sensor.value} is at {value:.0f} degrees, the limit is {limit_c:.0f}"
