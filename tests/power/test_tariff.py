from __future__ import annotations

from datetime import datetime, time

import pytest

from miner.power.tariff import Bill, Tariff, Window, break_even_per_kwh, joules_per_hash

MONDAY = datetime(2026, 11, 23)  # noqa: DTZ001 - local time is what tariffs are written in
NIGHT = Window(time(22), time(6), 0.08)
WEEKEND = Window(time(0), time(0), -0.01, frozenset({5, 6}))


@pytest.mark.parametrize(
    ("day", "hour", "price"),
    [(23, 12, 0.20), (23, 22, 0.08), (23, 3, 0.08), (23, 6, 0.20), (28, 12, -0.01), (29, 23, 0.08), (30, 0, 0.08)],
)
def test_the_first_window_that_covers_the_moment_says_the_price(day: int, hour: int, price: float) -> None:
    tariff = Tariff("EUR", 0.20, (NIGHT, WEEKEND))
    assert tariff.price_per_kwh(MONDAY.replace(day=day, hour=hour)) == price


def test_a_window_over_midnight_belongs_to_the_day_in_which_it_starts() -> None:
    friday_night = Window(time(22), time(6), 0.05, frozenset({4}))
    assert friday_night.covers(MONDAY.replace(day=28, hour=3))
    assert not friday_night.covers(MONDAY.replace(day=27, hour=3))


def test_energy_is_charged_at_the_price_of_its_hour() -> None:
    bill = Bill()
    bill.handle(None, 0.5)
    assert bill.cost is None
    bill.handle(3.6e6, 0.10)
    bill.handle(7.2e6, -0.02)
    bill.handle(7.2e6, 100.0)
    assert bill.cost == pytest.approx(0.08)


def test_the_break_even_price_is_that_of_the_published_formula() -> None:
    assert break_even_per_kwh(0.05, 20e-12) == pytest.approx(0.104, abs=5e-4)
    assert break_even_per_kwh(0.05, 20e-12, fee=0.02) == pytest.approx(0.104 * 0.98, abs=5e-4)


def test_efficiency_is_unknown_until_both_sides_are_known() -> None:
    assert joules_per_hash(None, 10) is None
    assert joules_per_hash(5.0, 0) is None
    assert joules_per_hash(20.0, 10**12) == pytest.approx(20e-12)
