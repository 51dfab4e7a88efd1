"""What is noticed of a suspend, with a clock to turn."""

from __future__ import annotations

import pytest

from backends.asic.sleep import NOTICED_S, Sleep


class Machine:
    """A machine that a test suspends."""

    def __init__(self) -> None:
        self.suspended_s = 100.0  # before the board was started
        self.sleep = Sleep(lambda: self.suspended_s)


def test_a_suspend_is_noticed_once_and_leaves_the_sensors_unread() -> None:
    machine = Machine()
    assert machine.sleep.slept() is None
    assert not machine.sleep.unread
    machine.suspended_s += 60.0
    assert machine.sleep.slept() == pytest.approx(60.0)
    assert machine.sleep.slept() is None
    assert machine.sleep.unread


def test_less_than_a_second_between_the_clocks_is_no_suspend() -> None:
    machine = Machine()
    machine.suspended_s += NOTICED_S - 0.1
    assert machine.sleep.slept() is None
    assert not machine.sleep.unread


def test_a_look_that_began_after_the_suspend_reads_the_sensors() -> None:
    machine = Machine()
    machine.suspended_s += 60.0
    machine.sleep.slept()
    machine.sleep.was_read(machine.sleep.known_s)
    assert not machine.sleep.unread


def test_a_look_that_began_before_the_suspend_leaves_the_sensors_unread() -> None:
    machine = Machine()
    began = machine.sleep.known_s
    machine.suspended_s += 60.0
    machine.sleep.slept()
    machine.sleep.was_read(began)
    assert machine.sleep.unread
