from __future__ import annotations

import pytest

from backends.opencl.device.watchdog import (
    Begin,
    Finished,
    Kill,
    Lost,
    Patience,
    Phase,
    Ready,
    Spawn,
    Spoke,
    Tick,
    Watchdog,
)

BUSY, IDLE = Tick(busy=True), Tick(busy=False)


@pytest.fixture
def running() -> Watchdog:
    dog = Watchdog()
    assert dog.handle(Begin(), 0.0) == [Spawn()]
    dog.handle(Ready(), 5.0)
    return dog


def killed(effects: list[Spawn | Kill]) -> str:
    (kill,) = effects
    assert isinstance(kill, Kill)
    return kill.reason


def test_a_launch_is_waited_for_30_seconds_at_least(running: Watchdog) -> None:
    assert running.handle(BUSY, 34.9) == []
    assert "no launch finished for 30 s" in killed(running.handle(BUSY, 35.0))


def test_slow_launches_are_waited_for_ten_times_as_long_as_is_usual(running: Watchdog) -> None:
    for number in range(1, 4):
        running.handle(Finished(), 5.0 + 8.0 * number)
    assert running.limit_s == pytest.approx(80.0)
    assert running.handle(BUSY, 29.0 + 79.0) == []
    assert killed(running.handle(BUSY, 29.0 + 80.0))


def test_who_has_nothing_to_do_is_not_hung(running: Watchdog) -> None:
    for now in range(5, 1000, 10):
        assert running.handle(IDLE, float(now)) == []
    assert running.handle(BUSY, 1010.0) == []
    assert killed(running.handle(BUSY, 1030.0))


def test_building_may_take_long_as_long_as_something_is_heard() -> None:
    dog = Watchdog(Patience(starting_s=600.0))
    dog.handle(Begin(), 0.0)
    dog.handle(Spoke(), 500.0)
    assert dog.handle(IDLE, 1099.0) == []
    assert "while it builds" in killed(dog.handle(IDLE, 1100.0))


def test_a_lost_worker_is_replaced_after_waits_that_double_and_then_no_more(running: Watchdog) -> None:
    now = 10.0
    for wait_s in (1.0, 2.0, 4.0):
        running.handle(Lost("crashed"), now)
        assert (running.phase, running.reason) == (Phase.SICK, "crashed")
        assert running.handle(IDLE, now + wait_s - 0.1) == []
        assert running.handle(IDLE, now + wait_s) == [Spawn()]
        running.handle(Ready(), now + wait_s)
        now += wait_s + 1.0
    running.handle(Lost("crashed"), now)
    assert (running.phase, running.reason) == (Phase.DEAD, "crashed, after 3 restarts in a row")
    assert running.handle(IDLE, now + 1000.0) == []
    assert running.restarts == 3


def test_a_minute_of_good_running_makes_up_for_failures(running: Watchdog) -> None:
    for number in range(10):
        now = 100.0 * (number + 1)
        running.handle(Lost("crashed"), now)
        assert running.handle(IDLE, now + 1.0) == [Spawn()]
        running.handle(Ready(), now + 2.0)
    assert running.phase is Phase.RUNNING


def test_what_would_fail_again_is_dead_at_once() -> None:
    dog = Watchdog()
    dog.handle(Begin(), 0.0)
    dog.handle(Lost("does not compile", for_good=True), 1.0)
    assert (dog.phase, dog.reason, dog.restarts) == (Phase.DEAD, "does not compile", 0)
