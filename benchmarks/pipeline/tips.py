"""From a new tip to new work on every hash thread.

A process of its own, with no benchmark's bar beside it:

    python -m benchmarks.pipeline.tips STATE THREADS PRIORITY SWITCHES

Another process plays the network and writes when it sends, the engine is the real one, and so is the CPU device; its
feed and its search are wrapped to note the time.

    sent --pipe, wake-up--> handled --Manager, Feed--> the last lease --parameters--> scanned by the last thread
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

import native
from backends import kernels
from backends.base import DeviceInfo, Feed, Hit, Host, Telemetry, Verdict, Work
from backends.base import Settings as DeviceSettings
from backends.cpu import CpuBackend, cores
from backends.cpu.choice.choice import Choice
from backends.cpu.choice.forge import Forge
from backends.cpu.choice.workshop import Workshop
from backends.cpu.device import CpuDevice
from backends.cpu.options import CpuOptions
from backends.cpu.priority import Priority
from backends.cpu.search import Search, Words
from backends.cpu.topology import survey
from benchmarks.pipeline.stamped import begun_ns, stamped
from miner.engine.engine import Engine
from miner.sources.base import Post
from miner.sources.synthetic import SyntheticChain, SyntheticOptions
from miner.work.events import SourceUp
from miner.work.limits import Limits
from miner.work.manager import Manager
from miner.work.share import Share
from native import Mailbox, NonceRange

FIGURES = ("wire_to_work_s", "handled_to_work_s", "handled_to_scan_s")

_SENDER = """
import random, sys, time
for line in sys.stdin:
    time.sleep(random.uniform(0.005, 0.025))
    print(time.perf_counter_ns(), flush=True)
"""
_RATE_HPS = 1e7  # for the targets: no share is found often
_PATIENCE_S = 60.0
_NAME = "tips"


def measure(state: Path, threads: int, priority: Priority, switches: int) -> dict[str, list[float]]:
    """Seconds for each switch, by FIGURES; subprocess.CalledProcessError if it fails."""
    command = [sys.executable, "-m", "benchmarks.pipeline.tips", str(state), str(threads), priority, str(switches)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return {str(name): list(values) for name, values in json.loads(answer.stdout).items()}


class Stopwatch:
    """When work on the tip was taken, and when each thread scanned it first; `all_scan` is called by the last."""

    def __init__(self, threads: int, all_scan: Callable[[], None]) -> None:
        self._threads = threads
        self._all_scan = all_scan
        self._tip = b""
        self._params: list[Words] = []  # for the tip
        self.taken: list[int] = []  # nanoseconds
        self.scanned: dict[int, int] = {}  # thread: nanoseconds

    def expect(self, tip: bytes) -> None:
        """The next tip; every thread scans on the one before, so none looks at this."""
        self.taken.clear()
        self.scanned.clear()
        self._params.clear()
        self._tip = tip

    def took(self, work: Work | None) -> None:
        if work is not None and work.prev_hash == self._tip:
            self.taken.append(time.perf_counter_ns())

    def prepared(self, header76: bytes, params: Words) -> None:
        if header76[4:36] == self._tip:
            self._params.append(params)

    def scans(self, params: Words) -> None:
        """A thread begins to scan, on the tip if that is what it was given."""
        if any(params is known for known in self._params):
            self.went_on(time.perf_counter_ns())

    def went_on(self, since_ns: int) -> None:
        """A thread scans on the tip since then."""
        thread = threading.get_ident()
        if thread in self.scanned:
            return
        self.scanned[thread] = since_ns
        if len(self.scanned) == self._threads:
            self._all_scan()


class TimedFeed:
    """A feed that notes when work is taken; the wrapped one's in everything else."""

    def __init__(self, feed: Feed, stopwatch: Stopwatch) -> None:
        self._feed = feed
        self._stopwatch = stopwatch

    @property
    def epoch(self) -> int:
        return self._feed.epoch

    @property
    def cancel(self) -> NDArray[np.uint32]:
        return self._feed.cancel

    def take(self, timeout: float) -> Work | None:
        work = self._feed.take(timeout)
        self._stopwatch.took(work)
        return work

    def fresh(self, work: Work) -> bool:
        return self._feed.fresh(work)

    def wait(self, epoch: int, timeout: float) -> bool:
        return self._feed.wait(epoch, timeout)

    def interrupt(self) -> None:
        self._feed.interrupt()

    def before_replacing(self, stage: Callable[[int], None] | None) -> None:
        self._feed.before_replacing(stage)

    def found(self, hit: Hit, ticket: int = 0) -> Verdict:
        return self._feed.found(hit, ticket)

    def worked(self, work: Work, hashes: int) -> None:
        self._feed.worked(work, hashes)


class TimedSearch:
    """A search that notes when it is used."""

    def __init__(self, search: Search, stopwatch: Stopwatch) -> None:
        self._search = search
        self._stopwatch = stopwatch
        self.name = search.name
        self.midstates = search.midstates

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words:
        params = self._search.prepare(header76, versions, target)
        self._stopwatch.prepared(header76, params)
        return params

    def scan(self, nonces: NonceRange) -> tuple[int, int]:
        return self._search.scan(nonces)

    def mailbox(self) -> Mailbox:
        return self._search.mailbox()

    def relay(self, nonces: NonceRange, mailbox: Mailbox) -> tuple[int, int, int, int]:
        self._stopwatch.scans(nonces.params)
        done, found, more, others = self._search.relay(nonces, mailbox)
        if more:
            self._stopwatch.went_on(begun_ns(nonces.hits))
        return done, found, more, others


class TimedWorkshop(Workshop):
    """Makes timed searches."""

    stopwatch: Stopwatch

    def _load(self, name: str) -> native.Kernel:
        return stamped(super()._load(name))

    def load(self, choice: Choice) -> Search:
        return TimedSearch(super().load(choice), self.stopwatch)


class TimedDevice:
    """The CPU with a timed feed."""

    def __init__(self, device: CpuDevice, stopwatch: Stopwatch) -> None:
        self._device = device
        self._stopwatch = stopwatch

    @property
    def info(self) -> DeviceInfo:
        return self._device.info

    def start(self, feed: Feed) -> None:
        self._device.start(TimedFeed(feed, self._stopwatch))

    def stop(self, timeout: float) -> None:
        self._device.stop(timeout)

    def apply(self, settings: DeviceSettings) -> DeviceSettings:
        return self._device.apply(settings)

    def telemetry(self) -> Telemetry:
        return self._device.telemetry()


class TipSource:
    """A source that has nothing but new tips: each comes when every thread scans on the one before."""

    name = _NAME

    def __init__(self, threads: int, switches: int, done: Callable[[], None]) -> None:
        self.times: dict[str, list[float]] = {name: [] for name in FIGURES}
        self.stopwatch = Stopwatch(threads, self._all_scan)
        self._switches = switches
        self._done = done
        self._chain = SyntheticChain(_NAME, SyntheticOptions(replace_ratio=1.0))
        self._settled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, post: Post) -> None:
        self._loop = asyncio.get_running_loop()
        post(SourceUp(self.name))
        await self._switch(post, time.perf_counter_ns())  # the device starts: not counted
        self.times = {name: [] for name in FIGURES}
        pipe = asyncio.subprocess.PIPE
        sender = await asyncio.create_subprocess_exec(sys.executable, "-c", _SENDER, stdin=pipe, stdout=pipe)
        assert sender.stdin is not None and sender.stdout is not None
        for _ in range(self._switches):
            sender.stdin.write(b"go\n")
            await self._switch(post, int(await sender.stdout.readline()))
        sender.stdin.close()
        await sender.wait()
        self._done()

    def submit(self, share: Share) -> None:
        """What is found is nobody's."""

    async def drain(self, timeout: float) -> None:
        """Nothing is under way."""

    async def check(self) -> list[str]:
        return []

    async def _switch(self, post: Post, sent_ns: int) -> None:
        tip = self._chain.next_job(time.monotonic(), _RATE_HPS)
        self._settled.clear()
        self.stopwatch.expect(tip.job.prev_hash)
        handled = time.perf_counter_ns()
        post(tip)
        async with asyncio.timeout(_PATIENCE_S):
            await self._settled.wait()
        taken, scanned = max(self.stopwatch.taken), max(self.stopwatch.scanned.values())
        ends = (taken - sent_ns, taken - handled, scanned - handled)
        for name, nanoseconds in zip(FIGURES, ends, strict=True):
            self.times[name].append(nanoseconds / 1e9)

    def _all_scan(self) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._settled.set)


def timed_cpu(state: Path, threads: int, priority: Priority, stopwatch: Stopwatch) -> TimedDevice:
    """The CPU device on the best kernel that the state folder has, its feed and search timed."""
    (info,) = CpuBackend(CpuOptions(threads=threads), Host(state)).probe()
    workshop = TimedWorkshop(kernels.candidates(), kernels.open_cache(state, native.host_features()), cores.model())
    workshop.stopwatch = stopwatch
    ranked = [core.number for core in survey(cores.affinity())]
    device = CpuDevice(info, Forge(workshop), cores.placement(threads, ranked), priority=priority)
    return TimedDevice(device, stopwatch)


async def _run(state: Path, threads: int, priority: Priority, switches: int) -> dict[str, list[float]]:
    source = TipSource(threads, switches, lambda: engine.stop())  # noqa: PLW0108 # there is no engine yet
    engine = Engine(Manager([source.name], Limits()), [source], worthless=True)
    device = timed_cpu(state, threads, priority, source.stopwatch)
    engine.add_device(device.info, lambda: device)
    finish = await engine.run()
    if not finish.ok:
        raise RuntimeError(finish.reason)
    return source.times


def _main(state: str, threads: str, priority: str, switches: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(_run(Path(state), int(threads), Priority(priority), int(switches)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
