"""A device of threads: it ends when it is told to, or says that it does not, and refuses what it cannot do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from backends.base import DeviceFault, DeviceInfo, Feed, Kind, Misuse, SettingRefused, Settings, State, Telemetry
from backends.testing import FakeFeed
from backends.threaded import Controls, Run, ThreadedDevice

INFO = DeviceInfo("made:0", "made", Kind.CPU, "two threads")


@dataclass
class Steps:
    """What a device did, in order."""

    done: list[str] = field(default_factory=list)


class Device(ThreadedDevice[Run, Controls]):
    """Two threads that wait for the feed until they are told to stop, or do what they are given."""

    def __init__(self, *bodies: Callable[[Run], None], steps: Steps | None = None) -> None:
        self.logged: list[tuple[str, dict[str, object]]] = []
        super().__init__(INFO, Controls(), lambda event, **values: self.logged.append((event, values)))
        self._bodies = bodies or (self.wait, self.wait)
        self._steps = steps or Steps()

    def telemetry(self) -> Telemetry:
        return Telemetry(State.MINING if self._run else State.OFF, fault=self._run.fault if self._run else None)

    @property
    def run(self) -> Run:
        assert self._run
        return self._run

    @staticmethod
    def wait(run: Run) -> None:
        while True:
            epoch = run.feed.epoch
            if run.stopping:
                return
            run.feed.wait(epoch, 60.0)

    def _prepare(self, feed: Feed) -> Run:
        run = Run(feed)
        for number, body in enumerate(self._bodies):
            run.threads.append(self._thread(run, lambda body=body: body(run), f"made/{number}"))  # type: ignore[misc]
        return run

    def _begin(self, run: Run) -> None:
        self._steps.done.append(f"begin, {sum(thread.is_alive() for thread in run.threads)} at work")

    def _end(self, run: Run) -> None:
        self._steps.done.append(f"end, {sum(thread.is_alive() for thread in run.threads)} at work")


def test_its_threads_run_from_start_to_stop_and_again() -> None:
    device, steps = Device(), Steps()
    device._steps = steps
    for _ in range(2):
        device.start(FakeFeed())
        threads = device.run.threads
        assert [thread.name for thread in threads] == ["made/0", "made/1"]
        device.stop(10.0)
        assert device.telemetry().state is State.OFF
        assert not any(thread.is_alive() for thread in threads)
    assert steps.done == ["begin, 0 at work", "end, 2 at work"] * 2


def test_it_is_started_once_and_stopped_any_number_of_times() -> None:
    device = Device()
    device.stop(10.0)
    device.start(FakeFeed())
    with pytest.raises(Misuse, match="made:0 was started already"):
        device.start(FakeFeed())
    device.stop(10.0)
    device.stop(10.0)


def test_a_thread_that_does_not_end_in_time_is_a_fault_and_may_end_later() -> None:
    last_word = threading.Event()
    device = Device(Device.wait, lambda _: last_word.wait() and None)
    device.start(FakeFeed())
    with pytest.raises(DeviceFault, match=r"made:0 is not off: 1 of its 2 threads still at work after 0\.05 s"):
        device.stop(0.05)
    with pytest.raises(Misuse):
        device.start(FakeFeed())
    last_word.set()
    device.stop(10.0)
    assert device.telemetry().state is State.OFF


def test_a_device_whose_second_thread_the_system_refused_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    device, sound = Device(), threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "made/1":
            raise RuntimeError("can't start new thread")
        sound(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError):
        device.start(FakeFeed())
    begun = device.run.threads[0]
    device.stop(10.0)
    assert not begun.is_alive()
    assert device.telemetry().state is State.OFF


def test_a_thread_that_fails_ends_the_others_and_says_why_once() -> None:
    def fail(run: Run) -> None:
        raise RuntimeError("bad silicon")

    device = Device(Device.wait, fail)
    device.start(FakeFeed())
    for thread in device.run.threads:
        thread.join(10.0)
        assert not thread.is_alive()
    assert device.telemetry().fault == "bad silicon"
    assert device.logged == [("device_failed", {"device": "made:0", "error": "RuntimeError('bad silicon')"})]
    device.stop(10.0)
    assert device.telemetry() == Telemetry(State.OFF)


def test_a_failure_without_words_is_called_by_its_name() -> None:
    def fail(_: Run) -> None:
        raise AssertionError

    device = Device(fail)
    device.start(FakeFeed())
    device.run.threads[0].join(10.0)
    assert device.telemetry().fault == "AssertionError"


def test_what_is_applied_is_told_before_the_threads_look() -> None:
    device, feed = Device(), FakeFeed()
    seen: list[Controls] = []
    feed.interrupt = lambda: seen.append(Controls(device._controls.enabled, device._controls.duty))  # type: ignore[method-assign]
    device._run = Run(feed)
    settings = Settings(enabled=False, duty=0.5)
    assert device.apply(settings) == settings
    assert device.apply(Settings()) == Settings()
    assert seen == [Controls(enabled=False, duty=0.5)] * 2


def test_what_is_refused_changes_nothing() -> None:
    device = Device()
    refusals = {
        "voltage_v": Settings(enabled=False, voltage_v=1.0),
        "it takes enabled and duty": Settings(enabled=False, fan=0.0),
        "0 to 1, not 1.5": Settings(enabled=False, duty=1.5),
        "0 to 1, not nan": Settings(enabled=False, duty=float("nan")),
    }
    for text, settings in refusals.items():
        with pytest.raises(SettingRefused, match=text):
            device.apply(settings)
    assert device._controls == Controls()


def test_a_device_that_is_off_interrupts_no_feed() -> None:
    device, feed = Device(), FakeFeed()
    device.start(feed)
    device.stop(10.0)
    epoch = feed.epoch
    device.apply(Settings(enabled=False))
    assert feed.epoch == epoch
