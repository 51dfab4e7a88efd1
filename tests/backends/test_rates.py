from __future__ import annotations

import pytest

from backends.rates import first_of_the_best, smoothed


def test_a_first_measurement_stands_and_a_later_one_moves_the_average_a_fifth_of_the_way() -> None:
    assert smoothed(None, 5.0) == 5.0
    assert smoothed(0.0, 5.0) == 1.0
    assert smoothed(10.0, 5.0) == 9.0


def test_candidates_that_differ_by_noise_are_decided_by_their_order() -> None:
    assert first_of_the_best({"a": 98.0, "b": 99.1, "c": 100.0}, 0.01) == "b"
    assert first_of_the_best({"a": 98.0, "b": 99.1, "c": 100.0}, 0.02) == "a"
    assert first_of_the_best({"a": 1.0, "b": 100.0}, 0.02) == "b"


def test_of_no_candidates_none_is_the_best() -> None:
    with pytest.raises(ValueError, match="empty"):
        first_of_the_best({}, 0.01)
