"""A keeper and a driver that does as a test wants: what is started, stopped and told, and when nothing is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from structlog.testing import capture_logs

from backends.base import DeviceFault, DeviceInfo, Feed, Kind, Settings, State, Telemetry
from miner.engine.keeper import HUNG_S, Keeper
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases
from miner.work.watch import DeviceWatch, Patience
from tests.work.making import a_job

INFO = DeviceInfo("fake:0", "fake", Kind.CPU, "a fake")
QUICK = Patience(silent_s=60.0, tries=1, backoff_s=0.0, trial_s=0.0)


@dataclass
class FakeDevice:
    """Implements `Device`. `gates`: calls that wait for this; `refuses`: what the next stops raise."""

    info: DeviceInfo = INFO
    state: State = State.OFF
    calls: list[str] = field(default_factory=list)
    gates: dict[str, threading.Event] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)
    refuses: list[Exception] = field(default_factory=list)
    powered: list[bool] = field(default_factory=list)  # what the keeper told of it
    died: bool = False

    def open(self) -> FakeDevice:
        self._enter("open")
        return self

    def start(self, feed: Feed) -> None:
        del feed
        self._enter("start")
        self.state, self.died = State.MINING, False

    def stop(self, timeout: float) -> None:
        del timeout
        self._enter("stop")
        if self.refuses:
            raise self.refuses.pop()
        self.state = State.OFF

    def apply(self, settings: Settings) -> Settings:
        return settings

    def telemetry(self) -> Telemetry:
        return Telemetry(State.DEAD, fault="it died") if self.died else Telemetry(self.state)

    def _enter(self, call: str) -> None:
        self.calls.append(call)
        if gate := self.gates.get(call):
            self.waiting.append(call)
            gate.wait(20)


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def keeper_of(
    device: FakeDevice, clock: Clock | None = None, patience: Patience = QUICK, look_s: float = 0.001
) -> Keeper:
    clock = clock or Clock()
    feed = DeviceFeed(INFO, Leases(), lambda _: None, clock)
    return Keeper(
        INFO,
        device.open,
        feed,
        watch=DeviceWatch(INFO.id, patience),
        clock=clock,
        look_s=look_s,
        tell_power=device.powered.append,
    )


@contextmanager
def running(keeper: Keeper) -> Iterator[Keeper]:
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.end()
        assert keeper.join(20)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def in_state(keeper: Keeper, state: State) -> Callable[[], bool]:
    return lambda: keeper.telemetry.state is state


def test_a_held_device_is_off_until_the_last_hold_is_released_and_has_no_fault() -> None:
    device = FakeDevice()
    with running(keeper_of(device)) as keeper:
        until(in_state(keeper, State.MINING))
        keeper.hold("interlock", "the interlock is open")
        keeper.hold("stopped", "stopped by Ctrl-Z")
        assert keeper.rested(20)
        assert device.state is State.OFF
        until(lambda: keeper.telemetry == Telemetry(State.PAUSED, activity="the interlock is open; stopped by Ctrl-Z"))
        keeper.release("interlock")
        until(lambda: keeper.telemetry.activity == "stopped by Ctrl-Z")
        assert device.calls == ["open", "start", "stop"]
        keeper.release("stopped")
        until(in_state(keeper, State.MINING))
        assert device.calls == ["open", "start", "stop", "open", "start"]
    assert device.powered == [True, False, True, False]


def test_a_device_that_is_held_from_the_start_is_not_even_opened() -> None:
    device = FakeDevice()
    keeper = keeper_of(device)
    keeper.hold("interlock", "open")
    with running(keeper):
        until(in_state(keeper, State.PAUSED))
        assert keeper.rested(0.0)
        assert (device.calls, device.powered) == ([], [])


def test_a_hold_while_the_device_is_opened_keeps_it_from_being_started() -> None:
    device = FakeDevice(gates={"open": threading.Event()})
    with running(keeper_of(device)) as keeper:
        until(lambda: device.waiting)
        keeper.hold("interlock", "open")
        assert not keeper.rested(0.0), "it may be powered while it is opened"
        device.gates["open"].set()
        assert keeper.rested(20)
        assert device.calls == ["open", "stop"]


def test_a_device_that_does_not_go_off_is_sick_told_so_again_and_never_said_to_rest() -> None:
    device = FakeDevice(refuses=[DeviceFault("stuck")] * 3)
    with capture_logs() as logs, running(keeper_of(device)) as keeper:
        until(in_state(keeper, State.MINING))
        device.gates["stop"] = threading.Event()
        keeper.hold("interlock", "open")
        until(lambda: device.waiting)
        assert not keeper.rested(0.0)
        device.gates.pop("stop").set()
        until(lambda: device.calls.count("stop") >= 2 or keeper.rested(0.0))
        assert keeper.rested(20)
        assert device.calls.count("stop") == 4
        assert device.powered == [True, False], "it is said to be off only when it is"
    assert [entry["event"] for entry in logs].count("device_not_off") == 1, "once for one reason"


def test_what_a_device_that_does_not_go_off_shows() -> None:
    device = FakeDevice(refuses=[DeviceFault("stuck")] * 10_000)
    with running(keeper_of(device)) as keeper:
        until(in_state(keeper, State.MINING))
        keeper.hold("interlock", "open")
        until(lambda: keeper.telemetry == Telemetry(State.SICK, fault="it does not go off (stuck): open"))
        keeper.end()
        device.refuses.clear()
        assert keeper.rested(20)
    assert keeper.telemetry == Telemetry(State.OFF), "it went off after all"


def test_a_driver_that_hangs_is_not_said_to_rest_and_its_device_is_sick() -> None:
    device, clock = FakeDevice(), Clock()
    with running(keeper_of(device, clock)) as keeper:
        until(in_state(keeper, State.MINING))
        device.gates["stop"] = threading.Event()
        keeper.hold("interlock", "open")
        until(lambda: device.waiting)
        clock.now += HUNG_S + 1.0
        assert keeper.telemetry.state is State.SICK
        assert not keeper.rested(0.0)
        device.gates.pop("stop").set()
        assert keeper.rested(20)


def test_a_release_while_the_run_ends_starts_nothing() -> None:
    device = FakeDevice()
    keeper = keeper_of(device)
    with running(keeper):
        until(in_state(keeper, State.MINING))
        keeper.hold("stopped", "stopped")
        assert keeper.rested(20)
        keeper.end()
        keeper.release("stopped")
    assert device.calls == ["open", "start", "stop"]
    assert keeper.telemetry.state is State.OFF


def test_a_long_rest_is_no_silence_and_costs_no_restart() -> None:
    device, clock = FakeDevice(), Clock()
    with capture_logs() as logs, running(keeper_of(device, clock)) as keeper:
        until(in_state(keeper, State.MINING))
        keeper.feed.serve(a_job(), replace=True)
        keeper.hold("interlock", "open")
        assert keeper.rested(20)
        clock.now += 3600.0
        seen = keeper.seen_at
        until(lambda: keeper.seen_at > seen)
        keeper.release("interlock")
        until(in_state(keeper, State.MINING))
        seen = len(device.calls)
        clock.now += 1.0
        until(lambda: keeper.seen_at == clock.now)
        assert (keeper.restarts, len(device.calls)) == (0, seen)
    assert "device_sick" not in [entry["event"] for entry in logs]


def test_a_sick_device_waits_for_its_restart_also_after_a_hold() -> None:
    device, clock = FakeDevice(), Clock()
    patience = Patience(tries=1, backoff_s=10.0, trial_s=0.0)
    with running(keeper_of(device, clock, patience)) as keeper:
        until(in_state(keeper, State.MINING))
        device.died = True
        until(in_state(keeper, State.SICK))
        keeper.hold("interlock", "open")
        assert keeper.rested(20)
        until(in_state(keeper, State.PAUSED))
        keeper.release("interlock")
        until(in_state(keeper, State.SICK))
        assert device.calls.count("open") == 1
        clock.now += 10.0
        until(in_state(keeper, State.MINING))
        assert (device.calls.count("open"), keeper.restarts) == (2, 1)


def test_a_device_that_was_given_up_stays_off_when_a_hold_is_released() -> None:
    device, clock = FakeDevice(), Clock()
    with running(keeper_of(device, clock, Patience(tries=0))) as keeper:
        until(in_state(keeper, State.MINING))
        device.died = True
        until(in_state(keeper, State.DEAD))
        keeper.hold("interlock", "open")
        assert keeper.rested(20)
        keeper.release("interlock")
        seen, clock.now = keeper.seen_at, clock.now + 1.0
        until(lambda: keeper.seen_at > seen)
        assert keeper.telemetry.state is State.DEAD
        assert device.calls.count("open") == 1


def test_a_restart_tells_that_the_device_is_off_and_on_again() -> None:
    device = FakeDevice()
    with running(keeper_of(device)) as keeper:
        until(in_state(keeper, State.MINING))
        device.died = True
        until(lambda: device.calls.count("start") == 2)
        assert device.powered == [True, False, True]
    assert device.powered == [True, False, True, False]


def test_a_restart_stops_the_device_and_opens_it_anew_and_once_it_hashes_it_has_recovered() -> None:
    device = FakeDevice()
    with capture_logs() as logs, running(keeper_of(device)) as keeper:
        until(in_state(keeper, State.MINING))
        keeper.feed.serve(a_job(), replace=True)
        work = keeper.feed.take(0.0)
        assert work is not None
        device.died = True
        until(lambda: keeper.restarts == 1)
        until(in_state(keeper, State.MINING))
        assert device.calls == ["open", "start", "stop", "open", "start"]
        keeper.feed.worked(work, 1)
        until(lambda: "device_recovered" in [entry["event"] for entry in logs])
        assert device.calls.count("open") == 2
    assert [entry["event"] for entry in logs] == ["device_sick", "device_restarted", "device_recovered"]


def test_a_device_that_is_given_up_is_stopped() -> None:
    device = FakeDevice()
    with running(keeper_of(device, patience=Patience(tries=0))) as keeper:
        until(in_state(keeper, State.MINING))
        device.died = True
        assert keeper.rested(20)
        assert device.calls == ["open", "start", "stop"]
        assert device.powered == [True, False]


def test_a_device_whose_start_fails_is_stopped_and_says_why() -> None:
    device = FakeDevice()

    def start(_feed: Feed) -> None:
        device.calls.append("start")
        raise DeviceFault("half started")

    device.start = start  # type: ignore[method-assign]
    with running(keeper_of(device, patience=Patience(tries=0))) as keeper:
        until(in_state(keeper, State.DEAD))
        assert keeper.telemetry.fault is not None and keeper.telemetry.fault.startswith("half started")
        assert keeper.rested(0.0)
        assert device.calls == ["open", "start", "stop"]


def test_a_hold_a_release_and_the_end_do_not_wait_for_the_next_look() -> None:
    device = FakeDevice()
    keeper = keeper_of(device, look_s=3600.0)
    with running(keeper):
        until(in_state(keeper, State.MINING))
        keeper.hold("interlock", "open")
        assert keeper.rested(20)
        keeper.release("interlock")
        until(in_state(keeper, State.MINING))
    assert device.calls == ["open", "start", "stop", "open", "start", "stop"]


def test_a_device_that_could_not_be_stopped_is_not_opened_a_second_time() -> None:
    device, clock = FakeDevice(refuses=[DeviceFault("stuck")]), Clock()
    with running(keeper_of(device, clock)) as keeper:
        until(in_state(keeper, State.MINING))
        device.died = True
        until(lambda: keeper.restarts == 1)
        seen, clock.now = keeper.seen_at, clock.now + 1.0
        until(lambda: keeper.seen_at > seen)
        assert device.calls.count("open") == 1
    assert device.calls.count("stop") == 2, "the end tries again"


def test_a_device_that_cannot_be_opened_is_told_to_be_off() -> None:
    device = FakeDevice()

    def refuse() -> FakeDevice:
        raise OSError("no such thing")

    device.open = refuse  # type: ignore[method-assign]
    with running(keeper_of(device)) as keeper:
        until(lambda: device.powered[-1:] == [False])
        assert keeper.rested(0.0)
