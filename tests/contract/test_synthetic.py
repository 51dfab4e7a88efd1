"""The contract on the synthetic device: a well-behaved one passes, and each way to misbehave is caught by a test."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from backends.base import BackendError, DeviceFault, State, Verdict
from backends.testing import DeviceContract, FakeFeed, Fault, SyntheticDevice, Template

EASY = Template(target=(1 << 256) - 1 >> 5)


class TestSynthetic(DeviceContract):
    bits = 5

    @pytest.fixture
    def make_device(self) -> Callable[[], SyntheticDevice]:
        return lambda: SyntheticDevice(rate_hps=100_000)


class Impatient(DeviceContract):
    bits = 5
    patience_s = 0.5


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        (Fault.LYING, Impatient.test_what_it_claims_to_have_searched_holds_no_other_hits),
        (Fault.DUPLICATE, Impatient.test_it_rolls_nothing_beyond_its_lease),
        (Fault.OUTSIDE, Impatient.test_it_rolls_nothing_beyond_its_lease),
        (Fault.IDLING, Impatient.test_what_it_claims_to_have_searched_holds_no_other_hits),
        (Fault.SILENT, Impatient.test_an_update_is_taken_up_and_older_hits_stay_good),
        (Fault.CRASHING, Impatient.test_what_it_claims_to_have_searched_holds_no_other_hits),
        (Fault.STICKY, Impatient.test_replaced_work_is_dropped),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_the_suite_catches(fault: Fault, test: Callable[..., None]) -> None:
    with pytest.raises(AssertionError):
        test(Impatient(), lambda: SyntheticDevice(rate_hps=100_000, fault=fault))


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [(Fault.LYING, Verdict.WRONG), (Fault.DUPLICATE, Verdict.DUPLICATE), (Fault.OUTSIDE, Verdict.OUTSIDE)],
)
def test_a_false_hit_is_judged_for_what_it_is(fault: Fault, verdict: Verdict) -> None:
    device, feed = SyntheticDevice(fault=fault), FakeFeed(EASY)
    device.start(feed)
    assert feed.wait_for(lambda: feed.verdicts[verdict] >= 3, 10.0)
    device.stop(10.0)


def test_a_crash_shows_as_dead_with_its_reason() -> None:
    device, feed = SyntheticDevice(fault=Fault.CRASHING), FakeFeed(EASY)
    device.start(feed)
    assert feed.wait_for(lambda: feed.total > 0, 10.0)
    device.stop(10.0)  # joins the thread that died
    device.start(feed := FakeFeed(EASY))
    assert feed.wait_for(lambda: feed.total > 0, 10.0)
    while device.telemetry().state is not State.DEAD:  # a dead run ends at pytest's time-out
        time.sleep(0.001)
    assert "crashed on demand" in str(device.telemetry().fault)
    device.stop(10.0)


def test_a_device_that_is_slow_to_stop_says_so_instead_of_pretending() -> None:
    device, feed = SyntheticDevice(fault=Fault.SLOW_STOP, lag_s=0.2), FakeFeed(EASY)
    device.start(feed)
    assert feed.wait_for(lambda: feed.total > 0, 10.0)
    with pytest.raises(DeviceFault):
        device.stop(0.01)
    with pytest.raises(BackendError):
        device.start(feed)
    device.stop(10.0)
    assert device.telemetry().state is State.OFF
