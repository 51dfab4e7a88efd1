"""GekkoScience Compac A1: one BM1362 behind a CP2105, whose second port leads to a microcontroller for telemetry.

The latch of the bridge holds chip and regulator off while its three pins are high. Commands to the microcontroller are
two characters; what it answers comes within 100 ms, and differs between its versions.
Source: kanoi/cgminer driver-gekko.c (enable_gsa1, limit_freq), 256foundation/mujina bm13xx REFERENCE.md.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from backends.asic.boards.board import BoardKind, Limits, Readings, Sensor
from backends.asic.boards.chain import (
    IO_DRIVE,
    START_TICKET_BITS,
    ChainBoard,
    Options,
    count_chips,
    name_chips,
    wake_chips,
    writes,
)
from backends.asic.boards.script import Act, Baud, Pause, Pins, Script, Send, attempt_all
from backends.asic.chips.chip import BM1362
from backends.asic.chips.frames import Register, chain_inactive
from backends.asic.chips.jobs import HeaderJobs, Jobs, version_rolling
from backends.asic.chips.ticket import Ticket
from backends.asic.usb.bridge import START_BAUD, Bridge
from backends.base import BackendError, DeviceFault

KIND = BoardKind(
    name="compac-a1",
    title="GekkoScience Compac A1",
    chip=BM1362.name,
    chips=1,
    sensors=frozenset({Sensor.CHIP_C, Sensor.INPUT_V, Sensor.CORE_V}),  # what every version of its firmware has
    limits=Limits(
        frequencies_hz=(100e6, 150e6, 200e6, 250e6, 300e6, 350e6, 400e6, 450e6, 500e6, 525e6),
        default_hz=300e6,
        throttle_c=None,
        cutoff_c=110.0,
        resume_c=30.0,
    ),
    hashes_per_hz=float(BM1362.small_cores),
    proven=False,
)
CORE_V = 0.3  # cgminer's default, and the only voltage that is ever set

_PINS, _OFF, _ON = 0x7, 0x7, 0x0
_CORE_CLOCK = (Register.CORE_MAILBOX, 0x8000_8540), (Register.CORE_MAILBOX, 0x8000_8008)

_ASK_VERSION, _ASK_MASK, _ASK_ALL = b"?v", b"M.", b"G."
_REGULATOR_ON, _REGULATOR_OFF, _LIGHT = b"BO", b"B-", b"LN"
_READINGS = 7
_ANSWER_S = 0.25
_LOCK_S = 0.5
_COARSE, _FINE = 20.0, 3.125  # amperes per volt: what the firmware's mask chooses
_COARSE_BIT = 0x80


class Telemetry:
    """The second port. Answers or raises within a second, whichever thread asks."""

    def __init__(self, bridge: Bridge, options: Options) -> None:
        self._bridge, self._clock = bridge, options.clock
        self._lock = threading.Lock()

    def ask(self, command: bytes, expect: int) -> bytes:
        """Raises DeviceFault when not all of it comes."""
        if not self._lock.acquire(timeout=_LOCK_S):
            raise DeviceFault(f"{KIND.title}: the telemetry port is busy")
        try:
            return self._ask(command, expect)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give the bridge back."""
        self._bridge.close()

    def _ask(self, command: bytes, expect: int) -> bytes:
        until = self._clock.now() + _ANSWER_S
        while self._bridge.read(0.001) and self._clock.now() < until:  # late answers to what was given up
            pass
        self._bridge.write(command)
        heard, until = b"", self._clock.now() + _ANSWER_S
        while len(heard) < expect and (left := until - self._clock.now()) > 0:
            heard += self._bridge.read(left)
        if len(heard) != expect:
            raise DeviceFault(f"{KIND.title}: {len(heard)} of {expect} bytes answer {command!r} on the telemetry port")
        return heard


def decode(raw: bytes, version: int, mask: int) -> dict[Sensor, float]:
    """Readings from the answer to "G.", in SI units. `version`: the byte that "?v" gave; `mask`: the one of "M.".

    A temperature of 0 is none. Version 1 has neither currents nor a fan, 2.1 no output current.
    """
    vin, iin, vout, _, temperature, second, tach = raw
    major = version >> 4
    reference = 2.048 / 255
    values = {
        Sensor.INPUT_V: vin * 6 / 255 if major == 1 else vin * 12 * reference,
        Sensor.CORE_V: vout * reference / 2,
    }
    if temperature:
        values[Sensor.CHIP_C] = _celsius(temperature)
    if major >= 2:
        values[Sensor.INPUT_A] = iin * reference * (_COARSE if mask & _COARSE_BIT else _FINE)
        values[Sensor.POWER_W] = values[Sensor.INPUT_V] * values[Sensor.INPUT_A]
        values[Sensor.FAN_RPM] = tach * 30.0
        if second and version != 0x20:
            values[Sensor.BOARD_C] = _celsius(second)
    return values


def _celsius(raw: int) -> float:
    return 125.0 if raw > 218 else raw * 175 / 218 - 50


class CompacA1(ChainBoard):
    """bridge: the chip's port, with mark parity; telemetry: the other."""

    def __init__(self, bridge: Bridge, telemetry: Bridge, options: Options) -> None:
        self._telemetry = Telemetry(telemetry, options)
        self._telemetry_bridge = telemetry
        self._version, self._mask = 0, _COARSE_BIT
        super().__init__(KIND, BM1362, bridge, options)

    def sensors(self) -> Readings:
        try:
            version = self._version or self._ask_version()
            values = decode(self._telemetry.ask(_ASK_ALL, _READINGS), version, self._mask)
        except BackendError as error:
            return Readings({}, str(error))
        return Readings(values, None if Sensor.CHIP_C in values else f"{KIND.title}: no temperature")

    def close(self) -> None:
        attempt_all(super().close, self._telemetry.close)

    def _start(self) -> Script[int]:
        yield Baud(START_BAUD)
        yield Act(lambda: self._telemetry_bridge.set_baud(START_BAUD))
        yield Pins(_PINS, _OFF)
        yield Pause(0.1)
        yield Pins(_PINS, _ON)
        yield Pause(0.1)
        chips = yield from count()
        yield Act(self._power)
        yield Pause(0.1)
        yield from start(chips)
        return chips

    def _cut(self) -> None:
        attempt_all(
            lambda: self._bridge.gpio(_PINS, _OFF),
            self._regulator_off,
        )

    def _new_jobs(self) -> Jobs:
        return HeaderJobs(BM1362)

    def _regulator_off(self) -> None:
        with suppress(DeviceFault):  # the latch took its power already; this is for the one that holds it open
            self._telemetry.ask(_REGULATOR_OFF, 1)

    def _ask_version(self) -> int:
        version = self._telemetry.ask(_ASK_VERSION, 1)[0]
        if version >> 4 not in {1, 2, 3}:
            raise DeviceFault(f"{KIND.title}: telemetry firmware of version {version:02x} is not known")
        self._version = version
        return version

    def _power(self) -> None:
        version = self._ask_version()
        self._telemetry.ask(b"V" + bytes((round(CORE_V * 1000 / 5),)), 1)
        self._telemetry.ask(_REGULATOR_ON, 1)
        self._telemetry.ask(_LIGHT, 1)
        self._mask = self._telemetry.ask(_ASK_MASK, 1)[0] if version >> 4 >= 3 else _COARSE_BIT


def count() -> Script[int]:
    """Make replies long, then see who is there."""
    yield Send(version_rolling(BM1362.version_bits), 0.01)
    return (yield from count_chips(KIND, BM1362, wait_s=1.0))


def start(chips: int) -> Script[None]:
    """From a chip that was just powered to one that has an address and no clock of its own yet."""
    yield Send(version_rolling(BM1362.version_bits), 0.01)
    yield Send(chain_inactive(), 0.03)
    yield from name_chips(chips)
    yield from writes(
        *_CORE_CLOCK,
        (Register.TICKET_MASK, Ticket(START_TICKET_BITS).register),
        (Register.ANALOG_MUX, 3),
        (Register.IO_DRIVE, IO_DRIVE),
    )
    yield from wake_chips(chips, 0x0000_0002, 0xB000_C100, _CORE_CLOCK)
