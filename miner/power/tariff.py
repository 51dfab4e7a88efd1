"""What electricity costs at a time, what it has cost, and at what price mining pays no more.

Prices are per kilowatt-hour in any one currency and may be negative, as they are on exchanges on a windy Sunday.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time

KWH_J = 3.6e6
EVERY_DAY = frozenset(range(7))
_DAY_S = 86_400
_TERA = 1e12


@dataclass(frozen=True, slots=True)
class Window:
    """A price for part of the day, from `start` until before `end`, over midnight where that is earlier.

    `days`: of the week in which it starts, Monday 0. Equal times are the whole day.
    """

    start: time
    end: time
    price_per_kwh: float
    days: frozenset[int] = EVERY_DAY

    def covers(self, moment: datetime) -> bool:
        """Whether this local time lies in it."""
        now, today = moment.time(), moment.weekday()
        if self.start < self.end:
            return today in self.days and self.start <= now < self.end
        return (today in self.days and now >= self.start) or ((today - 1) % 7 in self.days and now < self.end)


@dataclass(frozen=True, slots=True)
class Tariff:
    """The first window that covers a moment says the price; outside all of them it is the flat one."""

    currency: str
    flat_per_kwh: float
    windows: tuple[Window, ...] = ()

    def price_per_kwh(self, moment: datetime) -> float:
        """At a local time."""
        return next((window.price_per_kwh for window in self.windows if window.covers(moment)), self.flat_per_kwh)


class Bill:
    """What has been spent: joules at the price of the moment they were used."""

    def __init__(self) -> None:
        self.cost: float | None = None  # None until energy is known
        self._joules: float | None = None

    def handle(self, joules: float | None, price_per_kwh: float) -> None:
        """The energy so far, which never falls; what came since the last call is charged at this price."""
        if joules is None:
            return
        fresh = joules - (self._joules or 0.0)
        self.cost = (self.cost or 0.0) + fresh / KWH_J * price_per_kwh
        self._joules = joules


def joules_per_hash(joules: float | None, hashes: int) -> float | None:
    """None while nothing is known or done; times 1e12 it is the J/TH of data sheets."""
    return joules / hashes if joules is not None and hashes else None


def break_even_per_kwh(earned_per_th_day: float, joules_per_hash: float, fee: float = 0.0) -> float:
    """The price of electricity at which mining earns nothing.

    earned_per_th_day: the hash price, in the tariff's currency for 1e12 hashes a second during a day.
    fee: the pool's share of it, 0..1. At 0.05 and 20 J/TH it is 0.104 per kWh.
    """
    kwh_per_th_day = joules_per_hash * _TERA * _DAY_S / KWH_J
    return earned_per_th_day * (1 - fee) / kwh_per_th_day
