"""Quantities as people read them. Everything else in the program keeps SI base units and exact numbers."""

from __future__ import annotations

import math

from miner.printable import printable

UNKNOWN = "-"
_TERA = 1e12
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")


def quantity(value: float | None, unit: str = "") -> str:
    """Three significant digits and an SI prefix: "58.3 MH/s", "1.23 k", "947"; UNKNOWN for None and no number."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    scaled, power = float(value), 0
    while abs(scaled) >= 999.5 and power + 1 < len(_PREFIXES):
        scaled, power = scaled / 1000, power + 1
    if power == 0 and (abs(scaled) < 1 or scaled.is_integer()):
        number = f"{scaled:.3g}"
    else:
        number = f"{scaled:.{2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0}f}"
    return f"{number} {_PREFIXES[power]}{unit}".rstrip()


def hash_rate(hps: float | None) -> str:
    """Hashes a second: "58.3 MH/s"."""
    return quantity(hps, "H/s")


def power(watts: float | None) -> str:
    """Watts: "3.25 kW"."""
    return quantity(watts, "W")


def modelled(text: str) -> str:
    """The mark of a figure that the operator gave, or that such a figure is part of: "65 W (model)"."""
    return text if text == UNKNOWN else f"{text} (model)"


def efficiency(joules_per_hash: float | None) -> str:
    """As data sheets write it: "21.4 J/TH"."""
    return UNKNOWN if joules_per_hash is None else quantity(joules_per_hash * _TERA, "J/TH")


def money(amount: float | None, currency: str) -> str:
    """Four significant digits, as small amounts need: "0.1042 EUR"."""
    return UNKNOWN if amount is None or not math.isfinite(amount) else printable(f"{amount:.4g} {currency}")


def temperature(celsius: float | None) -> str:
    """Whole degrees Celsius: "61 °C"."""
    return UNKNOWN if celsius is None or not math.isfinite(celsius) else f"{celsius:.0f} °C"


def duration(seconds: float | None) -> str:
    """The two largest units that matter: "12 s", "3 min 05 s", "2 h 07 min", "3 d 04 h"."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, int(seconds))
    minutes, seconds_left = divmod(whole, 60)
    hours, minutes_left = divmod(minutes, 60)
    days, hours_left = divmod(hours, 24)
    if minutes == 0:
        return f"{whole} s"
    if hours == 0:
        return f"{minutes} min {seconds_left:02} s"
    if days == 0:
        return f"{hours} h {minutes_left:02} min"
    return f"{days} d {hours_left:02} h"
