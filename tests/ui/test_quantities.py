from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.ui.quantities import UNKNOWN, duration, hash_rate, power, quantity, temperature

PREFIXES = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24, "R": 1e27, "Q": 1e30}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (999.6, "1.00 k"),
        (1234, "1.23 k"),
        (12_345, "12.3 k"),
        (999_499, "999 k"),
        (999_500, "1.00 M"),
        (86.4e12, "86.4 T"),
        (4.656542373906925e-10, "4.66e-10"),
        (0.5, "0.5"),
        (1.5, "1.50"),
        (9.999, "10.0"),
    ],
)
def test_three_digits_and_a_prefix(value: float, text: str) -> None:
    assert quantity(value) == text


def test_units() -> None:
    assert hash_rate(58.3e6) == "58.3 MH/s"
    assert hash_rate(0) == "0 H/s"
    assert power(3250) == "3.25 kW"
    assert temperature(61.4) == "61 °C"


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_unknown_is_not_zero(value: float | None) -> None:
    assert {hash_rate(value), power(value), temperature(value), duration(value), quantity(value)} == {UNKNOWN}


@given(st.floats(min_value=1, max_value=1e32))
def test_what_is_read_is_what_it_was_within_half_a_digit(value: float) -> None:
    number, _, prefix = quantity(value).partition(" ")
    assert float(number) * PREFIXES.get(prefix, 1) == pytest.approx(value, rel=0.005)
    assert len(quantity(value)) <= 6


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
        (273_600, "3 d 04 h"),
    ],
)
def test_durations_name_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text
