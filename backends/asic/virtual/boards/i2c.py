"""The I2C devices of a Bitaxe Gamma: fan controller with the chip's diode, power meter, regulator.

Sources: data sheets of EMC2101, INA260 and TPS546D24A (registers); ESP-Miner and mujina (which of them are used, and
how the values are scaled).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Protocol

_FAN_STEPS = 63
_FULL_RPM = 5000.0
_TACH = 5_400_000


class NoAnswerError(Exception):
    """Nobody acknowledges."""


class I2cDevice(Protocol):
    """Writes begin with a register; a read goes on from the register that was written last."""

    def write(self, data: bytes) -> None: ...
    def read(self, length: int) -> bytes: ...


class Emc2101:
    """`chip_c` and `board_c` are asked at every reading; None: the diode is faulty."""

    ADDRESS = 0x4C

    def __init__(self, chip_c: Callable[[], float | None], board_c: Callable[[], float]) -> None:
        self._chip_c = chip_c
        self._board_c = board_c
        self._register = 0
        self._values = {0x03: 0x00, 0x4A: 0x20, 0x4C: 0x00}  # configuration, fan configuration, fan setting

    @property
    def fan(self) -> float:
        """0 to 1."""
        return min(self._values[0x4C], _FAN_STEPS) / _FAN_STEPS

    def write(self, data: bytes) -> None:
        if data:
            self._register = data[0]
        for offset, value in enumerate(data[1:]):
            self._values[self._register + offset & 0xFF] = value

    def read(self, length: int) -> bytes:
        return bytes(self._byte(self._register + offset & 0xFF) for offset in range(length))

    def _byte(self, register: int) -> int:
        rpm = self.fan * _FULL_RPM
        tach = min(0xFFFF, round(_TACH / rpm)) if rpm else 0xFFFF
        fixed = {0x46: tach & 0xFF, 0x47: tach >> 8, 0xFD: 0x16, 0xFE: 0x5D}
        if register in fixed:
            return fixed[register]
        if register == 0x00:
            return round(self._board_c()) & 0xFF
        if register in {0x01, 0x10}:
            raw = self._diode()
            return raw >> 3 & 0xFF if register == 0x01 else (raw & 7) << 5
        return self._values.get(register, 0)

    def _diode(self) -> int:
        """Eleven bits, an eighth of a degree each; the two fault codes say open and short circuit."""
        chip_c = self._chip_c()
        return 0x3F8 if chip_c is None else min(round(chip_c * 8), 0x3F7) & 0x7FF


class Ina260:
    """`measured` gives amperes and volts of the input."""

    ADDRESS = 0x40

    def __init__(self, measured: Callable[[], tuple[float, float]]) -> None:
        self._measured = measured
        self._register = 0

    def write(self, data: bytes) -> None:
        if data:
            self._register = data[0]

    def read(self, length: int) -> bytes:
        amperes, volts = self._measured()
        values = {0: 0x6127, 1: round(amperes / 1.25e-3), 2: round(volts / 1.25e-3), 3: round(amperes * volts / 10e-3)}
        values |= {0xFE: 0x5449, 0xFF: 0x2270}
        return struct.pack(">H", values.get(self._register, 0) & 0xFFFF).ljust(length, b"\xff")[:length]


class Tps546:
    """`changed` is called after every write; `measured` gives output amperes, input volts and degrees (None: fault)."""

    ADDRESS = 0x24
    _EXPONENT = -9

    def __init__(self, changed: Callable[[], None], measured: Callable[[], tuple[float, float, float]]) -> None:
        self._changed = changed
        self._measured = measured
        self._command = 0
        self._words: dict[int, bytes] = {}
        self.power_on()

    def power_on(self) -> None:
        """Off until told otherwise: what a board's own memory of it says is not known."""
        self._words = {0x01: b"\0", 0x02: b"\x1b", 0x20: b"\x17", 0x21: struct.pack("<H", 512)}

    @property
    def volts(self) -> float:
        """At the output; 0 while it is off."""
        if not self._words[0x01][0] & 0x80:
            return 0.0
        return math.ldexp(struct.unpack("<H", self._words[0x21].ljust(2, b"\0")[:2])[0], self._EXPONENT)

    def write(self, data: bytes) -> None:
        if not data:
            return
        self._command = data[0]
        if len(data) > 1:
            self._words[self._command] = data[1:]
            self._changed()

    def read(self, length: int) -> bytes:
        amperes, input_v, celsius = self._measured()
        readings = {
            0x79: bytes(2) if self.volts else b"\x40\x08",  # STATUS_WORD: off, and power not good
            0x88: _linear11(input_v),
            0x8B: struct.pack("<H", round(math.ldexp(self.volts, -self._EXPONENT))),
            0x8C: _linear11(amperes),
            0x8D: _linear11(celsius),
            0xAD: b"\x06\x54\x49\x54\x6d\x24\x41",  # a block: its length first
        }
        data = readings.get(self._command) or self._words.get(self._command, b"\0\0")
        return data.ljust(length, b"\xff")[:length]


def _linear11(value: float) -> bytes:
    """PMBus: a signed 5-bit exponent and a signed 11-bit mantissa."""
    exponent = -10
    while not -1024 <= (mantissa := round(math.ldexp(value, -exponent))) <= 1023:
        exponent += 1
    return struct.pack("<H", (exponent & 0x1F) << 11 | mantissa & 0x7FF)
