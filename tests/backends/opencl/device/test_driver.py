"""The driver's decisions, with a worker in memory and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from backends.base import DeviceFault, State
from backends.opencl.device.driver import Controls, Driver
from backends.opencl.device.thermal import Limits, Thermal
from backends.opencl.device.watchdog import Begin
from backends.opencl.protocol import (
    Doing,
    Done,
    Drop,
    Dropped,
    Failed,
    Open,
    Order,
    PowerSet,
    Ready,
    Report,
    Sensed,
    Set,
    Stretch,
    Temperature,
)
from backends.testing import FakeFeed, Template
from tests.backends.opencl.fakes import CARD


class Worker:
    """Implements `driver.Link`."""

    pid = 4711

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.unheard: list[Report] = []
        self.end: str | None = None
        self.killed = False

    def send(self, order: Order) -> None:
        self.orders.append(order)

    def received(self) -> list[Report]:
        heard, self.unheard = self.unheard, []
        return heard

    def lost(self) -> str | None:
        return self.end

    def close(self, timeout: float) -> bool:
        return self.kill()

    def kill(self) -> bool:
        self.killed = True
        return True

    def given(self, kind: type[Any]) -> list[Any]:
        return [order for order in self.orders if isinstance(order, kind)]


class Bench:
    """A driver, its feed, its workers one after the other."""

    def __init__(self, **more: Any) -> None:
        self.now = 0.0
        self.feed = FakeFeed(Template())
        self.controls = Controls()
        self.workers: list[Worker] = []
        self.driver = Driver(
            self.feed,
            self.controls,
            Open(identity=CARD, launch_s=0.05),
            self._spawn,
            thermal=Thermal(Limits()),
            clock=lambda: self.now,
            **more,
        )
        self.driver._do(self.driver.watchdog.handle(Begin(), self.now))

    @property
    def worker(self) -> Worker:
        return self.workers[-1]

    def _spawn(self) -> Worker:
        self.workers.append(Worker())
        return self.workers[-1]

    def step(self, *reports: Report, after_s: float = 0.0) -> State:
        self.now += after_s
        self.worker.unheard += reports
        self.feed.interrupt()  # as a worker does that has spoken: nothing here waits
        self.driver._feed = Unwaiting(self.feed)
        assert self.driver.step()
        return self.driver.state


class Unwaiting:
    """The feed, but nobody waits on it."""

    def __init__(self, feed: FakeFeed) -> None:
        self._feed = feed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._feed, name)

    def wait(self, epoch: int, timeout: float) -> bool:
        return True


READY = Ready(name="uint8", midstates=1)


def at(*celsius: float) -> Sensed:
    return Sensed(temperatures=tuple(Temperature(sensor="edge", celsius=x) for x in celsius))


def test_a_worker_that_is_ready_is_given_a_lease() -> None:
    bench = Bench()
    assert bench.step() is State.STARTING
    assert bench.step(READY) is State.MINING
    assert bench.worker.given(Set) == [Set(duty=1.0)]
    (stretch,) = bench.worker.given(Stretch)
    assert (stretch.start, stretch.count) == (0, 1 << 32)


def test_a_card_with_a_sensor_hashes_nothing_before_it_told_its_temperature() -> None:
    bench = Bench(needs_temperature=True)
    assert bench.step(READY) is State.STARTING
    assert not bench.worker.given(Stretch)
    assert bench.step(at(60.0)) is State.MINING


def test_the_cutoff_stops_a_card_and_it_goes_on_where_it_was_when_it_is_cool() -> None:
    bench = Bench()
    bench.step(READY, at(60.0))
    (stretch,) = bench.worker.given(Stretch)
    bench.step(Done(stretch=stretch.id, start=0, count=1000), at(96.0), after_s=1.0)
    (drop,) = bench.worker.given(Drop)
    bench.step(Done(stretch=stretch.id, start=1000, count=500), Dropped(token=drop.token))
    assert bench.driver.state is State.PAUSED
    assert "cutoff" in str(bench.driver.fault)
    assert bench.feed.total == 1500
    assert bench.step(at(80.0), after_s=5.0) is State.PAUSED
    assert bench.step(at(70.0), after_s=5.0) is State.MINING
    assert bench.driver.fault is None
    assert bench.worker.given(Stretch)[-1].start == 1500
    assert len(bench.feed.taken) == 1


def test_a_card_that_is_stopped_for_its_heat_is_told_of_once_and_so_is_its_end() -> None:
    told: list[str] = []
    bench = Bench(log=lambda event, **_: told.append(event))
    bench.step(READY, at(60.0))
    for celsius in (96.0, 97.0, 80.0, 70.0, 70.0):
        bench.step(at(celsius), after_s=1.0)
    assert [event for event in told if event.startswith("card_")] == ["card_stopped", "card_cooled"]


def test_a_warm_card_is_told_to_work_less() -> None:
    bench = Bench()
    bench.step(READY, at(80.0))
    bench.step(at(80.0), after_s=5.0)
    assert [x.duty for x in bench.worker.given(Set)] == pytest.approx([0.95, 0.9])


def test_a_power_limit_that_the_card_does_not_take_is_told_of() -> None:
    told: list[tuple[str, dict[str, object]]] = []
    bench = Bench(log=lambda event, **values: told.append((event, values)))
    bench.step(READY)
    bench.step(PowerSet(limit_w=150.0), PowerSet(refused="only root may"))
    assert told[-1] == ("power_limit_refused", {"reason": "only root may"})
    assert [event for event, _ in told].count("power_limit_refused") == 1


def test_a_power_limit_is_told_once_and_again_to_a_new_worker() -> None:
    bench = Bench()
    bench.controls.power_w = 150.0
    bench.step(READY, at(80.0))
    bench.step(at(80.0), after_s=5.0)
    assert [x.power_w for x in bench.worker.given(Set)] == [150.0, None]
    bench.worker.end = "its worker crashed with SIGKILL"
    assert bench.step() is State.SICK
    bench.step(after_s=1.0)
    bench.step(READY)
    assert [x.power_w for x in bench.worker.given(Set)] == [150.0]


def test_a_hung_worker_is_killed_and_the_next_goes_on_where_it_was() -> None:
    bench = Bench()
    bench.step(READY)
    (stretch,) = bench.worker.given(Stretch)
    bench.step(Done(stretch=stretch.id, start=0, count=4096), after_s=1.0)
    assert bench.step(after_s=29.9) is State.MINING
    hung = bench.worker
    assert bench.step(after_s=0.2) is State.SICK
    assert hung.killed
    assert "no launch finished for 30 s: its driver hangs" in str(bench.driver.fault)
    bench.step(after_s=1.0)
    assert bench.step(READY) is State.MINING
    assert bench.worker.given(Stretch)[0].start == 4096
    assert bench.driver.fault is None


def test_old_results_are_told_before_new_work_is_taken() -> None:
    bench = Bench()
    bench.step(READY)
    (stretch,) = bench.worker.given(Stretch)
    bench.feed.serve(Template(prev_hash=bytes(32)), replace=True)
    bench.step()
    (drop,) = bench.worker.given(Drop)
    assert len(bench.feed.taken) == 1
    bench.step(Done(stretch=stretch.id, start=0, count=10), Dropped(token=drop.token))
    assert [work.prev_hash == bytes(32) for work in bench.feed.taken] == [False, True]
    assert bench.worker.given(Stretch)[-1].start == 0


@pytest.mark.parametrize(
    ("reports", "reason"),
    [
        ([Done(stretch=99, start=0, count=1)], "which it was not working on"),
        ([Failed(reason="the card's memory is full")], "the card's memory is full"),
    ],
)
def test_what_a_worker_did_wrong_is_said(reports: Sequence[Report], reason: str) -> None:
    bench = Bench()
    bench.step(READY)
    bench.worker.end = "its worker ended with status 1"
    assert bench.step(*reports) is State.SICK
    assert reason in str(bench.driver.fault)


def test_a_worker_whose_failure_is_for_good_ends_the_device() -> None:
    bench = Bench()
    bench.worker.end = "its worker ended with status 1"
    bench.worker.unheard = [Failed(reason="does not compile", for_good=True)]
    with pytest.raises(DeviceFault, match="does not compile"):
        bench.step()


def test_a_card_is_tuned_anew_once_and_not_by_every_worker() -> None:
    bench = Bench()
    bench.driver._opening = bench.driver._opening.model_copy(update={"retune": True})
    bench.step(Doing(text="looking for the fastest form of the search"))
    bench.worker.end = "its worker crashed with SIGKILL"
    bench.step()
    bench.step(after_s=1.0)
    assert [order.retune for order in bench.worker.given(Open)] == [False]
