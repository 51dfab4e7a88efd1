"""Bitaxe Gamma with the bitaxe-raw firmware: one BM1370, a TPS546 regulator, an EMC2101 for fan and temperatures.

Two CDC ports: the first is the control port, the second the chip's line.
Source: 256foundation/mujina board/bitaxe.rs (order of the start, cut-off), bitaxeorg/ESP-Miner bm1370.c (registers),
TPS546.c, vcore.c and EMC2101.c (values), device_config.h (clocks).
"""

from __future__ import annotations

from contextlib import suppress

from backends.asic.boards import sensors as units
from backends.asic.boards.bitaxe_raw import ControlPort, read_i2c, set_i2c_frequency, set_pin, write_i2c
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
from backends.asic.boards.script import Act, Baud, Pause, Script, Send, attempt_all
from backends.asic.chips.chip import BM1370
from backends.asic.chips.frames import Register, chain_inactive
from backends.asic.chips.jobs import HeaderJobs, Jobs, version_rolling
from backends.asic.chips.ticket import Ticket
from backends.asic.usb.bridge import START_BAUD, Bridge
from backends.base import BackendError, DeviceFault

KIND = BoardKind(
    name="bitaxe-gamma",
    title="Bitaxe Gamma",
    chip=BM1370.name,
    chips=1,
    sensors=frozenset(
        {
            Sensor.CHIP_C,
            Sensor.REGULATOR_C,
            Sensor.BOARD_C,
            Sensor.INPUT_V,
            Sensor.CORE_V,
            Sensor.FAN_RPM,
            Sensor.POWER_W,
        }
    ),
    limits=Limits(
        frequencies_hz=(400e6, 490e6, 525e6, 550e6, 600e6, 625e6),
        default_hz=525e6,
        throttle_c=75.0,
        cutoff_c=80.0,
        resume_c=None,
        regulator_throttle_c=105.0,
    ),
    hashes_per_hz=float(BM1370.small_cores),
    proven=False,
    chip_c_when_off=False,  # the diode is connected to nothing then
)
CORE_V = 1.15  # the only voltage that is ever set

_RESET_PIN, _LOW, _HIGH = 0, 0, 1
_CORE_CLOCK = (Register.CORE_MAILBOX, 0x8000_8B00), (Register.CORE_MAILBOX, 0x8000_800C)
_FAST_BAUD = 1_041_667
_CHIP_FAST = 0x1130_0200  # in FAST_UART: 25 MHz / (8 * 3)
_VOLTAGE_TOLERANCE = 0.1

# PMBus commands of the TPS546
_OPERATION, _ON_OFF_CONFIG, _VOUT_MODE, _VOUT_COMMAND, _VOUT_SCALE_LOOP = 0x01, 0x02, 0x20, 0x21, 0x29
_READ_VIN, _READ_VOUT, _READ_IOUT, _READ_TEMPERATURE = 0x88, 0x8B, 0x8C, 0x8D
_ON, _OFF = 0x80, 0x00
_BY_OPERATION = 0x18
_SCALE_LOOP = units.to_linear11(0.25, exponent=-2)
_EXPONENT_OF_512TH = 0x17

# Registers of the EMC2101 and the INA260
_IDENTITY, _EXTERNAL_HIGH, _EXTERNAL_LOW, _INTERNAL = 0xFD, 0x01, 0x10, 0x00
_CONFIG, _FAN_CONFIG, _FAN, _TACH_LOW, _TACH_HIGH = 0x03, 0x4A, 0x4C, 0x46, 0x47
_TACH_INPUT, _FAN_DIRECT, _FAN_FULL = 0x04, 0x23, 63
_INA_POWER = 0x03


class BitaxeGamma(ChainBoard):
    """control: the first port; bridge: the second."""

    def __init__(self, control: Bridge, bridge: Bridge, options: Options) -> None:
        self._port = ControlPort(control, options.clock)
        self._meter = False  # whether the board has an INA260; later Gammas have none
        super().__init__(KIND, BM1370, bridge, options)

    def sensors(self) -> Readings:
        """The chip's diode is read only while the board is up: before that it is connected to nothing."""
        values: dict[Sensor, float] = {}
        problem = None
        groups = (self._thermometer, self._regulator)
        for read in groups:
            try:
                values |= read()
            except BackendError as error:
                problem = problem or str(error)
        return Readings(values, problem)

    def close(self) -> None:
        attempt_all(super().close, self._port.close)

    def _start(self) -> Script[int]:
        yield Act(lambda: self._port.ask(set_pin(_RESET_PIN, _LOW)))
        yield Act(lambda: self._port.ask(set_i2c_frequency(100_000)))
        yield Act(self._fan_full)
        yield Act(self._power)
        yield Pause(0.5)
        yield Act(self._check_power)
        yield Baud(START_BAUD)
        yield Act(lambda: self._port.ask(set_pin(_RESET_PIN, _HIGH)))
        yield Pause(0.2)
        return (yield from start())

    def _cut(self) -> None:
        attempt_all(
            lambda: self._port.tell(set_pin(_RESET_PIN, _LOW)),
            lambda: self._port.ask(write_i2c(units.TPS546, _OPERATION, _OFF)),
            lambda: self._port.ask(set_pin(_RESET_PIN, _LOW)),
        )

    def _new_jobs(self) -> Jobs:
        return HeaderJobs(BM1370)

    def _fan_full(self) -> None:
        self._thermometer_there()
        for register, value in ((_CONFIG, _TACH_INPUT), (_FAN_CONFIG, _FAN_DIRECT), (_FAN, _FAN_FULL)):
            self._port.ask(write_i2c(units.EMC2101, register, value))

    def _power(self) -> None:
        """The regulator divides what it measures by four: without knowing, it would give the chip too much."""
        self._port.ask(write_i2c(units.TPS546, _OPERATION, _OFF))
        self._port.ask(write_i2c(units.TPS546, _ON_OFF_CONFIG, _BY_OPERATION))
        mode = self._mode()
        for command, word in ((_VOUT_SCALE_LOOP, _SCALE_LOOP), (_VOUT_COMMAND, units.to_linear16(CORE_V, mode))):
            self._port.ask(write_i2c(units.TPS546, command, *word.to_bytes(2, "little")))
        self._port.ask(write_i2c(units.TPS546, _OPERATION, _ON))

    def _check_power(self) -> None:
        self._meter = False
        with suppress(DeviceFault):
            self._port.ask(read_i2c(units.INA260, _INA_POWER, 2))
            self._meter = True
        volts = units.linear16_v(self._pmbus(_READ_VOUT), self._mode())
        if abs(volts - CORE_V) > _VOLTAGE_TOLERANCE * CORE_V:
            raise DeviceFault(f"{KIND.title}: the regulator gives {volts:.2f} V, {CORE_V} V was asked for")

    def _thermometer(self) -> dict[Sensor, float]:
        self._thermometer_there()
        values = {
            Sensor.BOARD_C: units.internal_c(self._byte(_INTERNAL)),
            Sensor.FAN_RPM: units.tach_rpm(self._byte(_TACH_LOW) | self._byte(_TACH_HIGH) << 8),
            Sensor.FAN_TOLD: min(self._byte(_FAN), _FAN_FULL) / _FAN_FULL,
        }
        if self._up:
            chip_c = units.diode_c(self._byte(_EXTERNAL_HIGH) << 8 | self._byte(_EXTERNAL_LOW))
            if chip_c is None:
                raise DeviceFault(f"{KIND.title}: the chip's temperature diode is open or shorted")
            values[Sensor.CHIP_C] = chip_c
        return values

    def _regulator(self) -> dict[Sensor, float]:
        core_v = units.linear16_v(self._pmbus(_READ_VOUT), self._mode())
        core_a = units.linear11(self._pmbus(_READ_IOUT))
        if self._meter:
            power_w = units.ina260_w(int.from_bytes(self._port.ask(read_i2c(units.INA260, _INA_POWER, 2)), "big"))
        else:
            power_w = core_v * core_a  # the chip's share: the regulator's losses and the fan are not in it
        return {
            Sensor.CORE_V: core_v,
            Sensor.INPUT_V: units.linear11(self._pmbus(_READ_VIN)),
            Sensor.REGULATOR_C: units.linear11(self._pmbus(_READ_TEMPERATURE)),
            Sensor.POWER_W: power_w,
        }

    def _thermometer_there(self) -> None:
        """An error of some firmware looks like a reading of one byte: this one cannot."""
        identity = self._byte(_IDENTITY)
        if identity not in units.EMC2101_IDENTITIES:
            raise DeviceFault(f"{KIND.title}: the thermometer says it is a {identity:02x}")

    def _mode(self) -> int:
        [mode] = self._port.ask(read_i2c(units.TPS546, _VOUT_MODE, 1))
        if mode & 0x1F != _EXPONENT_OF_512TH:
            raise DeviceFault(f"{KIND.title}: the regulator's VOUT_MODE is {mode:02x}")
        return mode

    def _pmbus(self, command: int) -> int:
        return int.from_bytes(self._port.ask(read_i2c(units.TPS546, command, 2)), "little")

    def _byte(self, register: int) -> int:
        [value] = self._port.ask(read_i2c(units.EMC2101, register, 1))
        return value


def start() -> Script[int]:
    """From a chip that was just released to one that has an address, the fast line and its temperature diode."""
    for _ in range(3):
        yield Send(version_rolling(BM1370.version_bits), 0.005)
    chips = yield from count_chips(KIND, BM1370, wait_s=0.5)
    yield Send(version_rolling(BM1370.version_bits), 0.005)
    yield from writes((Register.SOFT_RESET, 0x0007_0000), (Register.MISC_CONTROL, 0xF000_C100))
    yield Send(chain_inactive(), 0.01)
    yield from name_chips(chips)
    yield from writes(
        *_CORE_CLOCK,
        (Register.TICKET_MASK, Ticket(START_TICKET_BITS).register),
        (Register.IO_DRIVE, IO_DRIVE),
    )
    yield from wake_chips(chips, 0x0007_01F0, 0xF000_C100, _CORE_CLOCK)
    yield from writes(
        (Register.ADC_CONTROL, 0x0000_4480),
        (Register.ANALOG_MUX, 2),
        (Register.ADC_CONTROL, 0x0000_4480),
        (Register.CORE_MAILBOX, 0x8000_8DEE),
    )
    yield from writes((Register.FAST_UART, _CHIP_FAST), pause_s=0.06)
    yield Baud(_FAST_BAUD)
    return chips
