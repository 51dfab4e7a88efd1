"""A device and its real worker process, with a search by hashlib in place of a driver's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from backends.base import Capability, SettingRefused, Settings, State, Verdict
from backends.opencl.device.device import OpenclDevice
from backends.opencl.device.watchdog import Patience
from backends.opencl.listing import PowerLimits
from backends.testing import FakeFeed, Template
from backends.testing.contract import hits_among
from tests.backends.opencl.fakes import a_device

EASY = Template(target=(1 << 256) - 1 >> 7)
IMPATIENT = Patience(hung_s=0.5, hung_times=3.0, backoff_s=0.01, tries=1)


@contextmanager
def mining(device: OpenclDevice, feed: FakeFeed) -> Iterator[None]:
    device.start(feed)
    try:
        yield
    finally:
        device.stop(30.0)


def until(happened: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.005)


def test_a_killed_worker_costs_one_restart_and_no_share() -> None:
    device, feed = a_device(patience=IMPATIENT), FakeFeed(EASY)
    with mining(device, feed):
        assert feed.wait_for(lambda: feed.total > 0, 60)
        killed = device.worker
        assert killed
        os.kill(killed, signal.SIGKILL)
        assert feed.wait_for(lambda: feed.total >= 1 << 14, 60)
        assert device.worker not in {killed, None}
        assert device.restarts == 1
    (work,) = feed.taken  # the lease went on where it was
    expected = hits_among(work, work.version, range(feed.total))
    assert sorted(hit.nonce for hit in feed.hits) == expected
    assert feed.verdicts == {Verdict.GOOD: len(expected)}


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("segfault", "crashed with SIGSEGV: driver: illegal address, after 1 restarts"),
        ("hang", "its driver hangs"),
        ("garbage", "its worker talks nonsense"),
        ("memory", "the card's memory is full"),
    ],
)
def test_a_worker_that_fails_is_restarted_and_then_given_up_with_a_sentence(mode: str, sentence: str) -> None:
    device, feed = a_device(mode, patience=IMPATIENT), FakeFeed(EASY)
    seen = set()
    with mining(device, feed):
        until(lambda: seen.add(device.telemetry().state) or device.telemetry().state is State.DEAD)
        assert sentence in str(device.telemetry().fault)
        assert feed.total > 0  # what it told before counts
    assert State.SICK in seen
    assert not feed.verdicts[Verdict.WRONG]


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [("unbuildable", "the program does not compile"), ("wrong", "the card computes wrongly")],
)
def test_what_another_attempt_would_not_change_is_not_attempted_again(mode: str, sentence: str) -> None:
    device, feed = a_device(mode), FakeFeed(EASY)
    with mining(device, feed):
        until(lambda: device.telemetry().state is State.DEAD)
        fault = str(device.telemetry().fault)
    assert sentence in fault
    assert len(fault) < 5000  # of a log of 100,000 characters
    assert device.restarts == 0


def test_a_driver_that_prints_disturbs_nothing() -> None:
    feed = FakeFeed(EASY)
    with mining(a_device("noisy"), feed):
        assert feed.wait_for(lambda: len(feed.hits) > 3, 60)


def test_false_hits_reach_the_judge() -> None:
    feed = FakeFeed(EASY)
    with mining(a_device("lie"), feed):
        assert feed.wait_for(lambda: feed.verdicts[Verdict.WRONG] > 0, 60)


def test_a_worker_that_cannot_be_started_says_why() -> None:
    device = a_device(patience=IMPATIENT)
    device._setup = type(device._setup)(opening=device._setup.opening, command=("/nowhere/python",), patience=IMPATIENT)
    with mining(device, FakeFeed(EASY)):
        until(lambda: device.telemetry().state is State.DEAD)
        assert "no process could be started" in str(device.telemetry().fault)


def test_a_power_limit_is_refused_in_words_and_changes_nothing() -> None:
    assert Capability.POWER not in a_device().info.capabilities
    refused = PowerLimits(least_w=100, most_w=300, refused="only root may")
    for device, watts, why in [
        (a_device(), 150.0, "no power limit"),
        (a_device(power=refused), 150.0, "only root may"),
        (a_device(power=PowerLimits(least_w=100, most_w=300)), 50.0, "takes 100 to 300 W"),
    ]:
        with pytest.raises(SettingRefused, match=why):
            device.apply(Settings(power_w=watts, duty=0.5))
        assert device.telemetry().duty == 1.0


def test_as_much_is_expected_as_was_measured_and_under_a_limit_as_much_as_it_does() -> None:
    limits, feed = PowerLimits(least_w=100, most_w=300), FakeFeed(EASY)
    for more, low, high in (({"rate_hps": 1e12}, 5e11, 5e11), ({"rate_hps": 1e12, "power_w": 200.0}, 1, 1e10)):
        device = a_device(power=limits, duty=0.5, **more)
        with mining(device, feed):
            until(lambda device=device: device.telemetry().expected_hps)
            assert low <= (device.telemetry().expected_hps or 0) <= high


def test_a_limit_that_the_worker_cannot_set_is_refused_while_it_runs() -> None:
    device, feed = a_device(power=PowerLimits(least_w=100, most_w=300)), FakeFeed(EASY)
    with mining(device, feed):
        assert feed.wait_for(lambda: feed.total > 0, 60)
        with pytest.raises(SettingRefused, match="it has no sensors"):
            device.apply(Settings(power_w=200.0))


def test_a_limit_that_was_refused_at_the_start_is_refused_again() -> None:
    device, feed = a_device(power=PowerLimits(least_w=100, most_w=300), power_w=200.0), FakeFeed(EASY)
    with mining(device, feed):
        assert feed.wait_for(lambda: feed.total > 0, 60)
        with pytest.raises(SettingRefused, match="it has no sensors"):
            device.apply(Settings(power_w=200.0))


ORPHAN = """
import sys
from backends.testing import FakeFeed, Template
from tests.backends.opencl.fakes import a_device
device, feed = a_device(), FakeFeed(Template(target=(1 << 256) - 1 >> 7))
device.start(feed)
feed.wait_for(lambda: feed.total > 0, 60)
print(device.worker, flush=True)
sys.stdin.read()
"""


def test_a_worker_ends_with_its_miner_however_that_ends() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", ORPHAN], env=environ, **pipes) as parent:  # type: ignore[call-overload]
        worker = int(parent.stdout.readline())
        parent.kill()
    until(lambda: not _alive(worker))


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:  # noqa: PTH123
            return stat.read().rpartition(")")[2].split()[0] != "Z"  # nobody may be there to bury it
    except OSError:
        return False
