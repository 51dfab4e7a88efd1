from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Kind
from miner.work.health import health_target, report_target
from miner.work.rate import hits_due
from tests.work.making import a_device


@given(st.floats(5e3, 1e15))
def test_a_device_shows_a_few_hits_a_second_at_any_rate(hps: float) -> None:
    assert 1 <= hits_due(int(hps), health_target(a_device(), hps)) <= 10


@given(st.floats(1e-3, 4e3))
def test_a_hit_of_a_slow_device_still_proves_some_work(hps: float) -> None:
    assert hits_due(1024, health_target(a_device(), hps)) == 1


def test_what_was_measured_beats_what_was_promised_and_that_beats_a_guess() -> None:
    promised = a_device(expected_hps=1e12)
    assert health_target(promised, 1e6) == health_target(a_device(expected_hps=None), 1e6)
    assert health_target(promised, None) < health_target(a_device(expected_hps=None), None)


@pytest.mark.parametrize("kind", Kind)
def test_an_unknown_device_is_not_asked_for_a_flood(kind: Kind) -> None:
    assert health_target(replace(a_device(expected_hps=None), kind=kind), None) < 1 << 236


@given(hps=st.floats(1e3, 1e15))
def test_what_every_other_hash_meets_is_reported_a_few_hundred_times_a_second_at_most(hps: float) -> None:
    target = report_target(a_device(), hps, (1 << 255) - 1)
    assert hits_due(int(hps), target) <= 1024
    assert hits_due(int(hps), target) >= 250 or target == (1 << 255) - 1


@given(hps=st.floats(1e3, 1e15))
def test_a_share_target_that_can_be_kept_up_with_is_reported_whole(hps: float) -> None:
    wanted = int((1 << 256) / hps * 100)
    assert report_target(a_device(), hps, wanted) == max(wanted, health_target(a_device(), hps))
