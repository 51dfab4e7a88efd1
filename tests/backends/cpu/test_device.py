from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import native
from backends import kernels
from backends.base import (
    BackendError,
    Capability,
    DeviceFault,
    DeviceGone,
    DeviceInfo,
    Host,
    Kind,
    SettingRefused,
    Settings,
    State,
)
from backends.cpu import CpuBackend, CpuDevice, CpuOptions, cores
from backends.cpu import backend as backend_module
from backends.cpu.choice import choice
from backends.cpu.choice.choice import Choice, Outcome, Record
from backends.cpu.choice.forge import Forge
from backends.cpu.choice.plan import Plan
from backends.cpu.priority import Priority, give_way
from backends.cpu.search import Words
from backends.cpu.topology import Core, survey
from backends.testing import FakeFeed, Template

INFO = DeviceInfo("cpu:0", "cpu", Kind.CPU, "test", capabilities=frozenset({Capability.DUTY}))


class FakeMailbox:
    """What lies in it is not come to."""

    def post(self, *_: object) -> None: ...
    def clear(self) -> None: ...


class Probe:
    """A search that runs until it is cancelled and tells what it saw of the thread that it runs in."""

    name = "probe"
    midstates = 1

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.niceness: dict[int, int] = {}
        self.policies: dict[int, int] = {}
        self.bound: dict[int, frozenset[int]] = {}
        self.scans_to_fault = 0

    def prepare(self, *_: object) -> Words:
        return np.zeros((1, 1), np.uint32)

    def mailbox(self) -> Any:
        return FakeMailbox()

    def relay(self, nonces: native.NonceRange, _mailbox: Any) -> tuple[int, int, int, int]:
        thread = threading.get_native_id()
        with self.lock:
            self.niceness[thread] = os.getpriority(os.PRIO_PROCESS, thread)
            self.policies[thread] = os.sched_getscheduler(0)
            self.bound[thread] = frozenset(os.sched_getaffinity(0))
            self.lock.notify_all()
            self.scans_to_fault -= 1
            if self.scans_to_fault == 0:
                raise RuntimeError("bad silicon")
        while nonces.cancel[0] == nonces.epoch:
            time.sleep(0.001)
        return 0, 0, 0, 0

    def wait_for_threads(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.niceness) >= count, 10.0)


class Maker:
    """A workshop of ready searches, the fastest first; the last of them is quick to compile."""

    def __init__(self, searches: dict[str, Probe], prove: Callable[[str], object] = lambda _: None) -> None:
        self.searches = searches
        self.prove: Any = prove

    def plan(self) -> Plan:
        quick = list(self.searches)[-1:]
        return Plan([kernels.Candidate(x, (), 1.0 if x in quick else 3.0) for x in self.searches], {}, set())

    def race(self, names: Sequence[str]) -> Record:
        places = {name: 1.0 / (1 + place) for place, name in enumerate(self.searches)}
        return {name: Outcome(rates_hps={1: places[name], 16: 2 * places[name]}) for name in names}

    def load(self, choice: Choice) -> Any:
        return self.searches[choice.single]

    def remember(self, record: Record) -> None:
        """Nothing outlives a test."""

    def interrupt(self) -> None:
        """What runs here cannot be interrupted."""

    def resume(self) -> None:
        """And so it needs no resuming."""


@contextmanager
def mining(
    probe: Probe, threads: int = 2, priority: Priority = Priority.LOW, placement: list[int | None] | None = None
) -> Iterator[CpuDevice]:
    forge = Forge(Maker({"probe": probe}))
    device = CpuDevice(INFO, forge, placement or [None] * threads, priority=priority)
    device.start(FakeFeed())
    try:
        yield device
    finally:
        device.stop(10.0)


def until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 10.0
    while not happened():
        assert time.monotonic() < give_up
        time.sleep(0.001)


def test_hash_threads_give_way_and_the_thread_that_started_them_does_not() -> None:
    probe, before = Probe(), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with mining(probe, threads=3):
        probe.wait_for_threads(3)
    assert set(probe.niceness.values()) == {19}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@pytest.mark.parametrize(("priority", "policy"), [(Priority.IDLE, os.SCHED_IDLE), (Priority.NORMAL, os.SCHED_OTHER)])
def test_other_priorities_are_the_schedulers_classes(priority: Priority, policy: int) -> None:
    probe = Probe()
    with mining(probe, threads=1, priority=priority):
        probe.wait_for_threads(1)
    assert set(probe.policies.values()) == {policy}
    assert set(probe.niceness.values()) == {os.getpriority(os.PRIO_PROCESS, 0)}
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_each_thread_is_bound_to_its_core_and_the_others_are_not() -> None:
    probe, before = Probe(), os.sched_getaffinity(0)
    usable = cores.affinity()
    with mining(probe, placement=[*usable, None]):
        probe.wait_for_threads(len(usable) + 1)
    assert set(probe.bound.values()) == {frozenset({core}) for core in usable} | {frozenset(before)}
    assert os.sched_getaffinity(0) == before


def test_a_policy_that_forbids_placement_does_not_keep_it_from_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError("not in this container")

    monkeypatch.setattr(os, "setpriority", forbidden)
    probe = Probe()
    with mining(probe, threads=1) as device:
        probe.wait_for_threads(1)
        assert device.telemetry().state is not State.DEAD


def test_one_thread_that_fails_takes_the_others_along_and_the_device_is_dead_not_the_process() -> None:
    probe = Probe()
    with mining(probe, threads=3) as device:
        probe.wait_for_threads(3)
        probe.scans_to_fault = 3  # the last thread to enter fails, while the others are in their scans
        device.apply(Settings(duty=1.0))  # wakes the threads: they scan anew
        until(lambda: device.telemetry().state is State.DEAD)
        until(lambda: not [x for x in threading.enumerate() if x.name.startswith("cpu:0/")])
        assert device.telemetry().fault == "bad silicon"
        device.stop(10.0)
        device.start(FakeFeed())
        until(lambda: device.telemetry().state is State.MINING)
        assert device.telemetry().fault is None


def test_a_thread_that_does_not_come_back_is_a_fault_until_it_does() -> None:
    probe, stuck, release = Probe(), threading.Event(), threading.Event()

    def hang(*_: object) -> tuple[int, int, int, int]:
        stuck.set()
        release.wait(10.0)
        return 0, 0, 0, 0

    probe.relay = hang  # type: ignore[method-assign]
    with mining(probe, threads=1) as device:
        assert stuck.wait(10.0)
        with pytest.raises(DeviceFault, match="cpu:0 is not off"):
            device.stop(0.01)
        with pytest.raises(BackendError, match="stop"):
            device.start(FakeFeed())
        release.set()
        device.stop(10.0)
        assert device.telemetry().state is State.OFF


def test_a_kernel_that_comes_after_the_stop_waits_for_the_next_start() -> None:
    probe, release = Probe(), threading.Event()

    forge = Forge(Maker({"probe": probe}, prove=lambda _: release.wait(10.0)))
    device, feed = CpuDevice(INFO, forge, [None]), FakeFeed()
    device.start(feed)
    until(lambda: device.telemetry().activity == "compiling probe")
    assert device.telemetry().state is State.STARTING
    device.stop(10.0)
    epoch = feed.epoch
    release.set()
    until(lambda: forge._thread is None)
    assert feed.epoch == epoch and not feed.taken and forge.search is None
    device.start(FakeFeed())
    until(lambda: forge.search is probe)
    device.stop(10.0)


class TwoKernels:
    """A forge with a kernel to start with at once, and a better one when the test releases it."""

    def __init__(self) -> None:
        self.first, self.better, self.release = Probe(), Probe(), threading.Event()
        self.forge = Forge(self)
        self._maker = Maker({"better": self.better, "first": self.first})

    def load(self, choice: Choice) -> Any:
        if choice.single == "better":
            self.release.wait(10.0)
        return self._maker.load(choice)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._maker, name)


def test_a_better_kernel_is_swapped_in_without_waiting_for_the_chunk_that_runs() -> None:
    kernels = TwoKernels()
    device = CpuDevice(INFO, kernels.forge, [None, None])
    device.start(FakeFeed())
    kernels.first.wait_for_threads(2)  # and stays in its scan until it is cancelled
    kernels.release.set()
    kernels.better.wait_for_threads(2)
    device.stop(10.0)


def test_a_kernel_that_comes_during_the_stop_is_done_with_the_feed_before_the_stop_is() -> None:
    class Gated(FakeFeed):
        arrived, gate = threading.Event(), threading.Event()

        def interrupt(self) -> None:
            if threading.current_thread().name == "cpu-kernels" and kernels.release.is_set():
                self.arrived.set()
                self.gate.wait(10.0)
            super().interrupt()

    kernels, feed, leave = TwoKernels(), Gated(), threading.Event()
    kernels.first.relay = lambda *_: (leave.wait(10.0) and 0, 0, 0, 0)  # type: ignore[method-assign, assignment, return-value]
    device = CpuDevice(INFO, kernels.forge, [None])
    device.start(feed)
    until(lambda: device.telemetry().state is State.MINING)
    stopping = threading.Thread(target=device.stop, args=(10.0,))
    stopping.start()
    until(lambda: bool(feed.epoch >= 2))  # the first kernel's interrupt, and the stop's own
    kernels.release.set()
    assert feed.arrived.wait(10.0)
    leave.set()
    stopping.join(0.1)
    assert stopping.is_alive(), "stop() returned while the feed was being called"
    feed.gate.set()
    stopping.join(10.0)
    assert device.telemetry().state is State.OFF


def test_a_refused_kernel_shows_in_telemetry_and_in_the_description() -> None:
    def prove(name: str) -> None:
        if name == "fast":
            raise kernels.ProofError("fast: missed the nonce of block 0")

    device = CpuDevice(INFO, Forge(Maker({"fast": Probe(), "slow": Probe()}, prove)), [None])
    device.start(FakeFeed())
    until(lambda: device.telemetry().state is State.MINING)
    assert "missed the nonce of block 0" in str(device.telemetry().fault)
    assert ("kernel fast refused", "fast: missed the nonce of block 0") in device.info.details
    device.stop(10.0)


def test_refused_settings_name_what_a_processor_has_not() -> None:
    device = CpuDevice(INFO, Forge(Maker({})), [None])
    with pytest.raises(SettingRefused, match="voltage_v"):
        device.apply(Settings(duty=0.5, voltage_v=1.1))
    assert device.telemetry().duty == 1.0


def test_probing_describes_the_processor_without_a_compiler() -> None:
    asked = (
        "import sys; from backends.base import Host; from backends.cpu import CpuBackend, CpuOptions;"
        "info, = CpuBackend(CpuOptions(), Host()).probe();"
        "print(info.id, info.unusable, dict(info.details)['kernel'], 'native.compiled' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=60, check=True)
    name, unusable, *kernels, compiler = ran.stdout.split()
    assert (name, unusable, compiler) == ("cpu:0", "None", "False")
    assert "scalar," in kernels


def test_a_kernel_that_this_machine_cannot_run_makes_it_unusable_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANGARA_CPU_FEATURES", "")
    backend = CpuBackend(CpuOptions(kernel="avx512x16"), Host())
    (info,) = backend.probe()
    assert "avx512x16: this processor has no avx512f" in str(info.unusable)
    with pytest.raises(BackendError, match="avx512f"):
        backend.open(info)


def test_a_faster_kernel_is_listed_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGARA_CPU_FEATURES", "")
    (info,) = CpuBackend(CpuOptions(), Host()).probe()
    assert info.unusable is None
    assert "avx512f" in dict(info.details)["not avx512x16"]


def remembered(state: Path, record: Record) -> dict[str, str]:
    """What is told of a processor of which this is remembered."""
    cache = kernels.open_cache(state, native.host_features())
    choice.write(cache.folder, cores.model(), record)
    (info,) = CpuBackend(CpuOptions(), Host(state)).probe()
    return dict(info.details)


def test_the_kernel_that_won_is_listed_and_why_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGARA_CPU_FEATURES", "")
    record = {"scalar": Outcome(rates_hps={1: 3e6}), "vector4": Outcome(rates_hps={1: 9e6, 16: 12e6})}
    details = remembered(tmp_path, record)
    assert details["kernel"] == "vector4, measured 9.0 MH/s a core"
    assert details["kernel for several versions"] == "vector4, 16 at once, measured 12.0 MH/s a core"
    assert details["not scalar"] == "measured slower: 0.33 times vector4"
    assert "no avx512f" in details["not avx512x16"]
    assert "not vector4" not in details


def test_a_kernel_that_crashed_here_is_listed_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGARA_CPU_FEATURES", "")
    details = remembered(
        tmp_path, {"vector4": Outcome(refused="crashed with SIGILL"), "scalar": Outcome(rates_hps={1: 1})}
    )
    assert details["not vector4"] == "crashed with SIGILL"
    assert details["kernel"].startswith("scalar")


def test_listing_creates_no_folder(tmp_path: Path) -> None:
    (info,) = CpuBackend(CpuOptions(), Host(tmp_path / "state")).probe()
    assert "measured at the first start" in dict(info.details)["kernel"]
    assert not list(tmp_path.iterdir())


def test_features_that_cannot_be_forced_make_it_unusable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGARA_CPU_FEATURES", "warp-drive")
    (info,) = CpuBackend(CpuOptions(), Host()).probe()
    assert "warp-drive" in str(info.unusable)


def test_another_device_is_not_opened_as_this_one() -> None:
    backend = CpuBackend(CpuOptions(), Host())
    with pytest.raises(DeviceGone, match="cpu:1"):
        backend.open(replace(backend.probe()[0], id="cpu:1"))


def test_a_state_directory_that_keeps_nothing_is_said_once_and_harmless(tmp_path: Path) -> None:
    said: list[str] = []
    blocked = tmp_path / "file"
    blocked.write_text("")
    backend = CpuBackend(CpuOptions(), Host(blocked, lambda event, **_: said.append(event)))
    backend.open(backend.probe()[0])
    assert said == ["kernel_cache_unusable"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"threads": 0}, "threads"),
        ({"duty": 0}, "duty"),
        ({"duty": 1.1}, "duty"),
        ({"priority": "high"}, "'idle', 'low' or 'normal'"),
        ({"kernel": "warp"}, "scalar"),
        ({"thread": 2}, "thread"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        CpuOptions.model_validate(options)


def test_threads_and_placement_follow_the_options() -> None:
    count = len(cores.affinity())
    for options, threads in ((CpuOptions(threads=5), 5), (CpuOptions(), cores.thread_count(count, cores.quota()))):
        (info,) = CpuBackend(options, Host()).probe()
        assert dict(info.details)["threads"] == str(threads)


def placement(options: CpuOptions) -> Sequence[int | None]:
    backend = CpuBackend(options, Host())
    device = backend.open(backend.probe()[0])
    assert isinstance(device, CpuDevice)
    return device._placement


def test_threads_that_were_asked_for_are_bound_to_the_best_cores_unless_affinity_is_off() -> None:
    ranked = [core.number for core in survey(cores.affinity())]
    assert placement(CpuOptions(threads=1)) == ranked[:1]
    assert placement(CpuOptions(threads=len(ranked), affinity=False)) == [None] * len(ranked)


def test_threads_that_a_quota_has_counted_are_bound_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "survey", lambda _: [Core(number) for number in range(4)])
    monkeypatch.setattr(cores, "quota", lambda: 2.0)
    assert placement(CpuOptions()) == [None, None]
    assert placement(CpuOptions(threads=2)) == [0, 1]


def test_what_distinguishes_cores_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Core(0, node=0, speed=(2,)), Core(2, node=1, speed=(1,)), Core(1, sibling=1, speed=(2,))]
    monkeypatch.setattr(backend_module, "survey", lambda _: found)
    details = dict(CpuBackend(CpuOptions(), Host()).probe()[0].details)
    assert details["cores"] == "0-2"
    assert details["second threads of a core"] == "1: used last"
    assert details["slower cores"] == "2"
    assert details["cores by memory node"] == "0: 0-1; 1: 2"


def test_a_low_priority_is_the_threads_own() -> None:
    seen: list[int] = []

    def lowered() -> None:
        give_way(Priority.LOW)
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=lowered)
    thread.start()
    thread.join()
    assert seen == [19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) != 19


def test_while_it_mines_each_thread_has_its_next_work_staged_and_none_after_that() -> None:
    probe = Probe()
    device, feed = CpuDevice(INFO, Forge(Maker({"probe": probe})), [None, None]), FakeFeed()
    device.start(feed)
    try:
        probe.wait_for_threads(2)
        until(lambda: all(hasher._scanning for hasher in device._run.hashers))  # type: ignore[union-attr]
        feed.serve(Template(prev_hash=bytes(32)), replace=True)
        mine = [call for call in feed.calls if call.thread == threading.get_ident()]
        assert [call.work.prev_hash for call in mine if call.work] == [bytes(32)] * 2
    finally:
        device.stop(10.0)
    taken = len(feed.taken)
    feed.close()
    feed.serve(Template(prev_hash=bytes(31) + b"1"), replace=True)
    assert (len(feed.taken), feed.late, feed._stage) == (taken, [], None)
