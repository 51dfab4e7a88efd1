"""What sensors say, in SI base units.

Source: bitaxeorg/ESP-Miner main/thermal and main/power, 256foundation/mujina peripheral; PMBus 1.2 (linear formats).
"""

from __future__ import annotations

EMC2101 = 0x4C  # I2C addresses
INA260 = 0x40
TPS546 = 0x24
EMC2101_IDENTITIES = frozenset({0x16, 0x28})

_OPEN, _SHORT = 0x3F8, 0x3FF  # what an EMC2101 says of a diode that is not there
_TACH_CLOCK = 54 * 10**5


def diode_c(raw: int) -> float | None:
    """An EMC2101's external diode: 11 bits of 1/8 degree, signed; None when it reports a fault. `raw`: 16 bits."""
    steps = raw >> 5
    if steps in {_OPEN, _SHORT}:
        return None
    return (steps - (1 << 11 if steps >> 10 else 0)) / 8


def internal_c(raw: int) -> float:
    """An EMC2101's own temperature: a signed byte."""
    return float(raw - (256 if raw >> 7 else 0))


def tach_rpm(raw: int) -> float:
    """An EMC2101's fan from the time of a turn; 0 for one that stands."""
    return 0.0 if raw in {0, 0xFFFF} else _TACH_CLOCK / raw


def ina260_w(raw: int) -> float:
    """An INA260's power register: 10 mW."""
    return raw * 0.01


def linear11(raw: int) -> float:
    """PMBus' Linear11: five bits of exponent, eleven of mantissa, both signed."""
    exponent, mantissa = raw >> 11, raw & 0x7FF
    exponent -= 1 << 5 if exponent >> 4 else 0
    mantissa -= 1 << 11 if mantissa >> 10 else 0
    return float(mantissa * 2.0**exponent)


def to_linear11(value: float, exponent: int) -> int:
    """The other way, rounded, with this exponent. Raises ValueError for what does not fit."""
    mantissa = round(value / 2.0**exponent)
    if not -(1 << 10) <= mantissa < 1 << 10 or not -16 <= exponent < 16:
        raise ValueError(f"no Linear11 with exponent {exponent}: {value}")
    return (exponent & 0x1F) << 11 | mantissa & 0x7FF


def linear16_v(raw: int, mode: int) -> float:
    """PMBus' Linear16 under VOUT_MODE, whose low five bits are the signed exponent."""
    return float(raw * 2.0 ** _exponent(mode))


def to_linear16(volts: float, mode: int) -> int:
    """The other way, rounded down. Raises ValueError for what does not fit."""
    raw = int(volts / 2.0 ** _exponent(mode))
    if not 0 <= raw < 1 << 16:
        raise ValueError(f"no Linear16 under mode {mode:02x}: {volts} V")
    return raw


def _exponent(mode: int) -> int:
    exponent = mode & 0x1F
    return exponent - (1 << 5 if exponent >> 4 else 0)
