"""A device that misbehaves, under the real keeper and on the real feed, beside one that does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from backends.base import State, Verdict
from backends.testing import Fault, SyntheticDevice
from miner.engine.keeper import Keeper
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases
from miner.work.watch import DeviceWatch, Patience
from tests.work.making import EASY, a_job

PATIENCE = Patience(silent_s=0.3, starting_s=0.3, backoff_s=0.01, tries=2)
Run = Callable[[Fault | None], Keeper]


@pytest.fixture
def run() -> Iterator[Run]:
    leases, job, keepers = Leases(), a_job(share_target=EASY), []

    def run(fault: Fault | None) -> Keeper:
        name = fault.name.lower() if fault else "healthy"
        device = SyntheticDevice(f"synthetic:{name}", fault=fault, lag_s=0.2)
        feed = DeviceFeed(device.info, leases, lambda _: None)
        feed.serve(job, replace=True)
        keeper = Keeper(device.info, lambda: device, feed, watch=DeviceWatch(name, PATIENCE), look_s=0.02)
        keepers.append(keeper)
        keeper.start()
        return keeper

    yield run
    for keeper in keepers:
        keeper.end()
    for keeper in keepers:
        assert keeper.join(20.0)


def until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20.0
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(Fault.LYING, "hits were wrong"), (Fault.SILENT, "no hashes for"), (Fault.CRASHING, "crashed on demand")],
)
def test_it_is_given_up_with_its_reason_and_its_neighbour_mines_on(run: Run, fault: Fault, reason: str) -> None:
    healthy, broken = run(None), run(fault)
    until(lambda: broken.telemetry.state is State.DEAD)
    assert reason in str(broken.telemetry.fault)
    assert broken.restarts > 0
    hashes = healthy.feed.counts().hashes
    until(lambda: healthy.feed.counts().hashes > hashes)
    assert healthy.telemetry.state is State.MINING
    assert healthy.feed.counts().of(Verdict.GOOD) > 0


@pytest.mark.parametrize(("fault", "verdict"), [(Fault.DUPLICATE, Verdict.DUPLICATE), (Fault.OUTSIDE, Verdict.OUTSIDE)])
def test_hits_that_are_no_use_are_counted_as_what_they_are(run: Run, fault: Fault, verdict: Verdict) -> None:
    broken = run(fault)
    until(lambda: broken.feed.counts().of(verdict) >= 3)


def test_one_that_is_slow_to_stop_holds_up_only_its_own_keeper(run: Run) -> None:
    slow = run(Fault.SLOW_STOP)
    until(lambda: slow.feed.counts().hashes > 0)
    slow.end()
    assert not slow.join(0.01)
    assert slow.join(20.0)
    assert slow.telemetry.state is State.OFF
