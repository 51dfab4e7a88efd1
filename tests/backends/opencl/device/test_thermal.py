from __future__ import annotations

import pytest

from backends.opencl.device.thermal import STALE_S, Limits, Thermal
from backends.opencl.protocol import Temperature


def core(celsius: float) -> list[Temperature]:
    return [Temperature(sensor="edge", celsius=celsius)]


@pytest.fixture
def card() -> Thermal:
    return Thermal(Limits())


def held(card: Thermal, celsius: float, since: float, seconds: float) -> float:
    """One reading a second; the time after the last."""
    for second in range(int(seconds)):
        card.sensed(core(celsius), since + second)
    return since + seconds


def test_above_the_target_it_is_worked_less_and_below_it_more_again(card: Thermal) -> None:
    now = held(card, 78.0, 0.0, 21.0)
    assert card.duty == pytest.approx(0.75)
    now = held(card, 74.0, now, 30.0)
    assert card.duty == pytest.approx(0.75)  # within the hysteresis nothing changes
    held(card, 70.0, now, 60.0)
    assert card.duty == 1.0
    assert card.stopped is None


def test_an_overheated_card_hardly_works_at_once(card: Thermal) -> None:
    card.sensed(core(85.0), 0.0)
    assert card.duty == pytest.approx(0.1)
    assert card.stopped is None


def test_at_the_cutoff_it_stops_until_it_is_well_below_the_target(card: Thermal) -> None:
    card.sensed(core(95.0), 0.0)
    assert "95 °C is at its cutoff of 95 °C" in str(card.stopped)
    now = held(card, 72.0, 1.0, 60.0)
    assert card.stopped
    card.sensed(core(71.9), now)
    assert card.stopped is None
    assert card.duty < 0.2  # and begins gently


def test_any_sensor_that_its_maker_calls_critical_stops_it(card: Thermal) -> None:
    card.sensed([*core(60.0), Temperature(sensor="junction", celsius=110.0, critical_c=110.0)], 0.0)
    assert "junction is at 110 °C" in str(card.stopped)


def test_a_temperature_that_can_no_longer_be_read_is_no_low_one(card: Thermal) -> None:
    card.sensed(core(60.0), 0.0)
    card.sensed([], STALE_S - 0.1)
    assert card.stopped is None
    card.elapsed(STALE_S)
    assert "no longer be read" in str(card.stopped)
    card.sensed(core(60.0), STALE_S + 1.0)
    assert card.stopped is None


def test_a_card_without_a_sensor_is_not_held_back(card: Thermal) -> None:
    card.sensed([], 0.0)
    card.elapsed(1e6)
    assert (card.stopped, card.duty) == (None, 1.0)
