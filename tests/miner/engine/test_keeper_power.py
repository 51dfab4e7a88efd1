"""When a driver hangs, and that what its device draws is not known any more then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from backends.base import State, Telemetry
from backends.testing import SyntheticDevice
from miner.engine.keeper import HUNG_S, Keeper
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases


class Hanging(SyntheticDevice):
    """Says once what it draws, and never answers again until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.let_go = threading.Event()

    def telemetry(self) -> Telemetry:
        self.asked += 1
        if self.asked > 1:
            self.let_go.wait(30)
        return Telemetry(State.IDLE, power_w=500.0, power_source="usb")


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_driver_that_is_not_asked_while_the_process_is_stopped_does_not_hang() -> None:
    device, now = Hanging(), [100.0]
    device.let_go.set()
    feed = DeviceFeed(device.info, Leases(), lambda _: None, lambda: now[0])
    keeper = Keeper(device.info, lambda: device, feed, clock=lambda: now[0], look_s=3600.0)
    keeper.start()
    until(lambda: keeper.telemetry.state is State.IDLE)
    now[0] += 60 * HUNG_S
    until(lambda: keeper.telemetry.state is not State.SICK)
    keeper.end()
    assert keeper.join(20)


def test_a_driver_that_hangs_takes_its_watts_with_it() -> None:
    device, now = Hanging(), [100.0]
    feed = DeviceFeed(device.info, Leases(), lambda _: None, lambda: now[0])
    keeper = Keeper(device.info, lambda: device, feed, clock=lambda: now[0], look_s=0.001)
    keeper.start()
    until(lambda: device.asked == 2)
    assert (keeper.telemetry.power_w, keeper.seen_at) == (500.0, 100.0)
    now[0] += HUNG_S + 1.0
    assert keeper.telemetry.state is State.SICK
    assert keeper.telemetry.power_w is None
    device.let_go.set()
    keeper.end()
    assert keeper.join(20)
    assert (keeper.telemetry.state, keeper.telemetry.power_w) == (State.OFF, None)
