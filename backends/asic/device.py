"""A USB miner as a device: its driver's threads, its supervisor's, and what each may do to the board.

    driver      claims the board, brings it up, mines                    (driver.py)
    supervisor  reads its sensors once a second; turns it off            (safety.py decides)

Each watches the other: a driver that hangs is seen by the supervisor, sensors that hang by the driver. A board stays
off for safety whoever starts the device anew: that is remembered by serial number (latch.py).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace

from backends import affinity
from backends.asic.boards.board import Board, BoardKind, Limits, Readings, Sensor
from backends.asic.driver import Controls, Driver, Terms
from backends.asic.latch import Latches
from backends.asic.safety import CutOff, Faster, Latch, Look, Patience, Release, Safety, Slower, Standing, Tick
from backends.asic.sleep import Sleep, suspended_s
from backends.base import (
    BackendError,
    DeviceFault,
    DeviceGone,
    DeviceInfo,
    Feed,
    Misuse,
    Reading,
    SettingRefused,
    Settings,
    State,
    Telemetry,
)

_TAKES = ("enabled", "frequency_hz")
_LOOK_S = 1.0
_SLEPT = "the machine was suspended: off until its sensors are read"
_AFTERWARDS_S = 2.0  # of the time for a stop: turning it off and giving it back
_TEMPERATURES = (Sensor.CHIP_C, Sensor.REGULATOR_C, Sensor.BOARD_C)


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a device is made of. `limits`: the board's, or stricter; `key`: what it is remembered by."""

    kind: BoardKind
    limits: Limits
    key: str
    open_board: Callable[[], tuple[Board, float]]  # claims it; with the scale of what it hashes
    latches: Latches
    terms: Terms = field(default_factory=Terms)
    patience: Patience | None = None
    look_s: float = _LOOK_S
    prepare: Callable[[], object] = lambda: None  # before it is opened: compiling, which no stop waits for
    suspended_s: Callable[[], float] = suspended_s  # seconds that the machine has been suspended


class AsicDevice:
    """Implements `backends.base.Device` and `backends.base.Supervised`."""

    def __init__(
        self,
        info: DeviceInfo,
        equipment: Equipment,
        frequency_hz: float,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self.info = info
        self._equipment = equipment
        self._controls = Controls(frequency_hz)
        self._log = log
        self._run: _Run | None = None
        self._wake = threading.Lock()  # held to interrupt the feed, so that none is after stop() returned

    def start(self, feed: Feed) -> None:
        if self._run:
            raise Misuse(f"{self.info.id} was started already: stop() it first")
        self._run = _Run(self.info, self._equipment, self._controls, feed, self._log)
        self._run.start()

    def stop(self, timeout: float) -> None:
        run = self._run
        if not run:
            return
        run.end(max(0.0, timeout - _AFTERWARDS_S))
        self._interrupt()
        if not run.join(timeout):
            run.cut("its driver does not end")
            raise DeviceFault(f"{self.info.id} was turned off, and still runs after {timeout} s")
        if run.not_off:
            run.turn_off_again()  # for whoever stops it a second time
        if run.not_off:
            raise DeviceFault(f"{self.info.id} may still be on: {run.not_off}")
        with self._wake:
            self._run = None

    def apply(self, settings: Settings) -> Settings:
        if settings.voltage_v is not None:
            raise SettingRefused(
                f"{self.info.id}: no source says which voltages a {self._equipment.kind.title} stands; it keeps its own"
            )
        for item in fields(settings):
            if item.name not in _TAKES and getattr(settings, item.name) is not None:
                raise SettingRefused(f"{self.info.id} has no {item.name} to set: it takes enabled and frequency_hz")
        hertz = settings.frequency_hz
        if hertz is not None:
            hertz = clock_of(self._equipment.limits, hertz)
            self._controls.frequency_hz = hertz
        if settings.enabled is not None:
            self._controls.enabled = settings.enabled
        self._interrupt()
        return Settings(enabled=settings.enabled, frequency_hz=hertz)

    def telemetry(self) -> Telemetry:
        run = self._run
        return run.telemetry() if run else Telemetry(State.OFF)

    def unwatched_s(self) -> float | None:
        run = self._run
        return run.unwatched_s() if run else None

    def _interrupt(self) -> None:
        with self._wake:
            if self._run:
                self._run.interrupt()


def clock_of(limits: Limits, hertz: float) -> float:
    """The board's next clock that is not above this. Raises SettingRefused outside its table."""
    table = limits.frequencies_hz
    if not math.isfinite(hertz) or not table[0] <= hertz <= table[-1]:
        raise SettingRefused(
            f"no clock of {hertz / 1e6:g} MHz: {table[0] / 1e6:g} to {table[-1] / 1e6:g} MHz can be had"
        )
    return max(clock for clock in table if clock <= hertz)


class _Run:
    """From a start() to its stop(). Implements `driver.Permit`."""

    def __init__(
        self,
        info: DeviceInfo,
        equipment: Equipment,
        controls: Controls,
        feed: Feed,
        log: Callable[..., None],
    ) -> None:
        self._info, self._equipment, self._controls, self._feed = info, equipment, controls, feed
        self._log: Callable[..., None] = lambda event, **values: log(event, device=info.id, **values)
        self._now = equipment.terms.now
        now, latches, key = self._now(), equipment.latches, equipment.key
        record = latches.record(key)
        self._safety = Safety(
            equipment.limits,
            equipment.kind.sensors,
            now,
            equipment.patience,
            tripped_at=[now - age_s for age_s in latches.ages_s(key)],
            latched=record.latched,
        )
        if self._safety.standing is Standing.TRIPPED:
            self._safety.reason = record.resting or self._safety.reason  # what turned it off in an earlier run
        elif self._safety.standing is Standing.ALLOWED:
            latches.release(key)  # it has rested while nothing drove it
        self._deciding = threading.Lock()
        self._readings = Readings({})
        self._sleep = Sleep(equipment.suspended_s)
        self._ticked_at = self._looked_at = now
        self._board: Board | None = None
        self._driver: Driver | None = None
        self._fault: str | None = None
        self.not_off: str | None = None  # why the last attempt to turn it off failed
        self._over = threading.Event()
        self._at_rest = False  # its driver has ended, and its board is off
        self._stopping = self._opening = False
        self._turning = threading.Lock()  # held to change one of the two, so that none is opened after a stop
        self._ramp_down_s = 0.0
        self._supervisor = threading.Thread(target=self._supervise, name=f"{info.id}/safety", daemon=True)
        self._thread = threading.Thread(target=self._drive, name=info.id, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, ramp_down_s: float) -> None:
        with self._turning:
            self._stopping, self._ramp_down_s = True, ramp_down_s
        if self._driver:
            self._driver.ramp_down_s = ramp_down_s
            self._driver.stopping = True

    def join(self, timeout: float) -> bool:
        """Whether all its threads have ended; after `end` also, whether none will ever touch the board."""
        if not self._opening:
            return True
        until = self._now() + timeout
        for thread in (self._thread, self._supervisor):
            if thread.ident:
                thread.join(max(0.0, until - self._now()))
        return not self._thread.is_alive() and not self._supervisor.is_alive()

    def interrupt(self) -> None:
        self._feed.interrupt()

    def cut(self, reason: str) -> None:
        """Reset line and regulator off, whatever its threads are at. Any thread."""
        if self._board is not None:
            self._turn_off(self._board)
            self._log("asic_cut_off", reason=reason)  # not before: a terminal that is held up would hold this up

    def turn_off_again(self) -> None:
        """After `join`: open a board that did not go off, tell it again, and give it back."""
        try:
            board, _ = self._equipment.open_board()
        except DeviceGone:  # unplugged, and so without power
            self.not_off, self._at_rest = None, True
        except Exception as error:  # noqa: BLE001  whatever it is, the board may still be on
            self.not_off = str(error) or type(error).__name__
        else:
            self._at_rest = self._turn_off(board)
            with suppress(BackendError):
                board.close()

    def _turn_off(self, board: Board) -> bool:
        """Whether it is off. A reason why it is not is logged once, though attempts come each second."""
        reason: str | None = None
        try:
            board.off()
        except DeviceGone:  # unplugged, and so without power
            pass
        except Exception as error:  # noqa: BLE001  whatever it is, the next attempt must come
            reason = str(error) or type(error).__name__
        before, self.not_off = self.not_off, reason
        if reason is not None and reason != before:
            self._log("asic_not_off", reason=reason)
        return reason is None

    def telemetry(self) -> Telemetry:
        driver, values = self._driver, self._readings.values
        temperatures = tuple(Reading(s.value, values[s]) for s in _TEMPERATURES if s in values)
        fans = tuple(Reading(s.value, values[s]) for s in (Sensor.FAN_RPM,) if s in values)
        power_w = None if self._info.virtual else values.get(Sensor.POWER_W)  # emulated watts are none
        return Telemetry(  # without a power limit: none of these boards has one
            state=self._state(),
            fault=self._fault_now(),
            activity=self._activity(),
            power_w=power_w,
            power_source=None if power_w is None else "usb",
            temperatures_c=temperatures,
            fans_rpm=fans,
            fan=values.get(Sensor.FAN_TOLD),
            frequency_hz=driver.hertz if driver else None,
            voltage_v=values.get(Sensor.CORE_V),
            expected_hps=driver.expected_hps if driver else None,
        )

    def unwatched_s(self) -> float | None:
        """Seconds since the supervisor's last look. None before the supervisor starts, and once the board is off.

        A run that has ended while its board did not go off goes on counting: nobody watches that board any more.
        """
        if not self._supervisor.ident or self._at_rest:
            return None
        return self._now() - self._looked_at

    # ---- what the driver asks

    @property
    def allowed(self) -> bool:
        self._notice_sleep()
        return self._safety.standing is Standing.ALLOWED and not self._sleep.unread and not self._over.is_set()

    @property
    def ceiling_hz(self) -> float:
        return self._safety.ceiling_hz

    def look(self) -> None:
        now = self._now()
        if now - self._ticked_at >= self._equipment.look_s:
            self._ticked_at = now
            self._tick()

    def _notice_sleep(self) -> None:
        """In whichever of the board's threads runs first after a suspend: it and the other then turn the board off."""
        slept_s = self._sleep.slept()
        if slept_s is None:
            return
        self._log("asic_slept", slept_s=round(slept_s, 1), text=_SLEPT)
        if not self._over.is_set():
            self._feed.interrupt()

    # ---- threads

    def _drive(self) -> None:
        """The body of the driver's thread: what goes wrong ends here, as a dead device and a board that is off."""
        try:
            self._refuse_latched()
            self._equipment.prepare()
            with self._turning:
                if self._stopping:
                    return
                self._opening = True
            self._board, scale = self._equipment.open_board()
            terms = replace(self._equipment.terms, scale=scale)
            self._driver = Driver(self._board, self._feed, self._controls, self, terms, self._log)
            if self._stopping:  # else left alone: whoever ends this run may be telling it right now
                self._driver.stopping, self._driver.ramp_down_s = True, self._ramp_down_s
            self._looked_at = self._now()
            self._supervisor.start()
            self._gather()
            self._driver.run()
            self._refuse_latched()
        except Exception as error:  # noqa: BLE001
            if not self._stopping or not isinstance(error, DeviceGone):
                self._fault = self._fault or str(error) or type(error).__name__
                self._log("device_failed", error=repr(error))
        finally:
            self._give_back()

    def _gather(self) -> None:
        """The driver and who listens to the board, where the other boards' are; the supervisor stays free."""
        try:
            affinity.gather()
        except OSError as error:  # a container's policy: a board is driven as well from everywhere, at a price
            self._log("driver_not_placed", reason=error.strerror)

    def _refuse_latched(self) -> None:
        if self._safety.standing is Standing.LATCHED:
            raise DeviceFault(latched_text(self._equipment.key, self._safety.reason))

    def _give_back(self) -> None:
        """Off, and closed once nobody can be using it."""
        self._over.set()
        if self._board is not None:
            self._at_rest = self._turn_off(self._board)
        if self._supervisor.ident:
            self._supervisor.join()
        if self._board is not None:
            with suppress(BackendError):
                self._board.close()

    def _supervise(self) -> None:
        """The body of the supervisor's thread. Its own defects are the board's end: nobody would watch it any more."""
        assert self._board is not None and self._driver is not None
        try:
            self._look_after(self._board, self._driver)
        except Exception as error:  # noqa: BLE001
            self._fault = f"its supervisor failed: {str(error) or type(error).__name__}"
            self._driver.stopping = True
            self.cut(self._fault)

    def _look_after(self, board: Board, driver: Driver) -> None:
        while True:  # the first look comes before any power
            self._notice_sleep()
            known_s = self._sleep.known_s
            settled = driver.settled and not self._sleep.unread
            barred = self._safety.standing is not Standing.ALLOWED or self._sleep.unread
            if driver.on and barred:  # it did not go off, or was being started
                self._turn_off(board)
            try:
                readings = board.sensors()
            except DeviceGone as error:  # the driver is told the same
                readings = Readings({}, str(error))
                settled = False
            except Exception as error:  # noqa: BLE001  unreadable is unsafe, for whatever reason
                readings = Readings({}, str(error) or type(error).__name__)
            self._readings = readings
            settled &= driver.settled  # sensors that it lost by being turned off meanwhile are no fault
            clock_hz = driver.hertz
            self._decide(Look(readings, settled, math.inf if clock_hz is None else clock_hz))
            self._tick()
            if not driver.on:  # else it was not turned off yet, and could go on without a start
                self._sleep.was_read(known_s)
            self._looked_at = self._now()
            if self._over.wait(self._equipment.look_s):
                return

    def _tick(self) -> None:
        if driver := self._driver:
            self._decide(Tick(driver.on, driver.settled, driver.age_s))

    def _decide(self, event: Look | Tick) -> None:
        with self._deciding:
            effects = self._safety.handle(event, self._now())
        latches, key = self._equipment.latches, self._equipment.key
        for effect in effects:
            match effect:
                case CutOff(reason):
                    self.cut(reason)
                    latches.trip(key, reason)
                case Latch(reason):
                    latches.latch(key, reason)
                    self._log("asic_latched", reason=reason)
                    if self._driver:
                        self._driver.stopping = True
                case Slower(ceiling_hz, reason):
                    self._log("asic_throttled", ceiling_hz=ceiling_hz, reason=reason)
                case Faster(ceiling_hz):
                    self._log("asic_relieved", ceiling_hz=ceiling_hz)
                case Release():
                    latches.release(key)
                    self._log("asic_released")
        if effects and not self._over.is_set():
            self._feed.interrupt()

    # ---- for telemetry

    def _state(self) -> State:
        if self._fault is not None:
            return State.DEAD
        if not self._thread.is_alive() and self._over.is_set():
            return State.OFF
        if self._safety.standing is Standing.TRIPPED or self._sleep.unread:
            return State.PAUSED
        return self._driver.state if self._driver else State.STARTING

    def _fault_now(self) -> str | None:
        if self._fault is not None:
            return self._fault
        if self._safety.standing is Standing.TRIPPED:
            state = f"it does not go off ({self.not_off})" if self.not_off else "turned off for safety, resting"
            return f"{state}: {self._safety.reason}"
        if self._sleep.unread:
            return _SLEPT
        findings = self._driver.health.findings() if self._driver and self._driver.health else []
        if self._safety.reason is not None:
            findings.append(f"slowed down: {self._safety.reason}")
        return "; ".join(findings) or None

    def _activity(self) -> str | None:
        driver = self._driver
        if driver is None or driver.hertz is None:
            return None
        goal = driver.goal_hz
        return None if driver.hertz == goal else f"on its way from {driver.hertz / 1e6:g} to {goal / 1e6:g} MHz"


def latched_text(key: str, reason: str | None) -> str:
    """For the operator."""
    return f"kept off for safety ({reason}): look at it and its cooling, then `miner unlatch {key}`"
