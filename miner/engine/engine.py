"""The shell around the manager: owns the event loop's tasks, the timers and the devices' keepers, and decides nothing.

    sources --post--> Manager.handle --effects--> feeds (Serve, Retire), sources (Submit), the end (Finish)
    feeds ---Found-->       ^
    clock ---Tick--->-------+

Everything here runs on the event loop, unless its docstring says that any thread may call it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import structlog

from backends.base import Device, DeviceInfo, State
from miner.books.share_log import ShareLog
from miner.chain.target import Target
from miner.engine.dropped_blocks import DroppedBlockLog
from miner.engine.keeper import LOOK_S, Keeper
from miner.engine.metering import Metering
from miner.engine.refused_shares import RefusedShares
from miner.engine.telling import tell_alarm, tell_event, tell_refused
from miner.engine.views import device_view, source_view
from miner.sources.base import Source
from miner.telemetry.alarms import Alarms
from miner.telemetry.snapshot import WINDOWS_S, Snapshot
from miner.work.events import (
    Answered,
    BlockDropped,
    Distrust,
    Event,
    Fate,
    Finish,
    Found,
    MiningBegan,
    Retire,
    Serve,
    SourceFailed,
    Submit,
    Tick,
    Trust,
)
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases
from miner.work.manager import Manager
from miner.work.watch import DeviceWatch, Patience

log = structlog.get_logger(__name__)

TICK_S = 0.25
SNAPSHOT_S = 1.0
OFF_S = 10.0  # how long devices may take to go off at the end
DRAIN_S = 10.0  # how long the miner waits at the end for answers to its shares
AGAIN_S, AGAIN_LONGEST_S = 10.0, 600.0  # until a source that a defect ended is run again; the pause doubles each time


class Engine:
    """Runs one manager over its sources and devices until it says Finish, or until `stop`.

    `patience`: the time limits for a device's faults. `look_s`: seconds between two looks at a device.
    """

    def __init__(
        self,
        manager: Manager,
        sources: Sequence[Source],
        *,
        worthless: bool = False,
        patience: Patience | None = None,
        look_s: float = LOOK_S,
        share_log: ShareLog | None = None,
        metering: Metering | None = None,
        alarms: Alarms | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._manager = manager
        self._sources = {source.name: source for source in sources}
        self.worthless = worthless  # whether the coins that are mined are worthless
        self._patience = patience
        self._look_s = look_s
        self._share_log = share_log
        self._metering = metering
        self._alarms = alarms
        self._clock = clock
        self._wall = wall
        self._leases = Leases()
        self._dropped = DroppedBlockLog(clock)
        self._refused = RefusedShares()
        self._keepers: dict[str, Keeper] = {}
        self._holds: dict[str, str] = {}  # name -> sentence for the operator
        self._holding = threading.Lock()  # guards the two above: every device that is added is held as the others are
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watchers: list[Callable[[Snapshot], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done = asyncio.Event()
        self._result = Finish(ok=True, reason="stopped")
        self._stumbled: list[Callable[[Snapshot], None]] = []  # watchers whose defect was logged
        self._starving: set[str] = set()  # sources whose jobs were exhausted once
        self._began = False
        self._began_wall: float | None = None
        self._mined_s: float | None = None  # mining time of the run, once the devices are off
        self._latest = self._take_snapshot()

    # ---- what surrounds it

    @property
    def latest(self) -> Snapshot:
        """The last snapshot, at most a second old. Any thread."""
        return self._latest

    def rate_hps(self) -> float | None:
        """The rate of all devices together: measured, or else expected; None if no rate is known."""
        able = [keeper for keeper in self._keepers.values() if keeper.telemetry.state not in (State.OFF, State.DEAD)]
        rates = [keeper.feed.rate(WINDOWS_S[0]) or keeper.info.expected_hps for keeper in able]
        known = [rate for rate in rates if rate is not None]
        return sum(known) if known else None

    def each_second(self, watcher: Callable[[Snapshot], None]) -> None:
        """Call `watcher` with every snapshot, on the event-loop thread. It must not block."""
        self._watchers.append(watcher)

    def add_device(
        self,
        info: DeviceInfo,
        open_device: Callable[[], Device],
        tell_power: Callable[[bool], None] = lambda _on: None,
    ) -> None:
        """Mine with one more device, or with one that came back, before or during `run`. Does nothing at the end.

        `tell_power`: called in the keeper's thread with True before the device may draw power, with False once it is
        off.
        """
        if self._done.is_set():
            return
        before = self._keepers.get(info.id)  # the work that it did before it was gone still counts
        keeper = Keeper(
            info,
            open_device,
            before.feed if before else DeviceFeed(info, self._leases, self._found, self._clock, self._dropped.tell),
            watch=DeviceWatch(info.id, self._patience),
            clock=self._clock,
            look_s=self._look_s,
            tell_power=tell_power,
        )
        with self._holding:
            for name, text in self._holds.items():
                keeper.hold(name, text)
            self._keepers[info.id] = keeper
        if self._loop is not None:
            keeper.feed.serve(self._manager.served, replace=False)
            keeper.start()

    async def remove_device(self, device: str) -> bool:
        """Stop mining with a device that is gone. Return whether it is off. Snapshots go on showing it.

        A device that is not off may still be driven, so it must not be added again.
        """
        keeper = self._keepers[device]
        keeper.end()
        return await asyncio.to_thread(keeper.join, OFF_S)

    def hold(self, name: str, text: str) -> None:
        """Keep every device off, also those that are added later, until `release(name)`. Returns at once; any thread.

        This is for safety and lies below every command: nothing starts a device while a hold stands. `text`: why, for
        the operator.
        """
        with self._holding:
            self._holds[name] = text
            for keeper in self._keepers.values():
                keeper.hold(name, text)

    def release(self, name: str) -> None:
        """Take back the hold of this name; devices start again when none is left. Returns at once; any thread."""
        with self._holding:
            self._holds.pop(name, None)
            for keeper in self._keepers.values():
                keeper.release(name)

    async def rest(self, timeout: float) -> list[str]:
        """Wait up to `timeout` seconds until every held device is off. Return the ids of devices that are not."""
        keepers = list(self._keepers.values())
        rested = await asyncio.gather(*(asyncio.to_thread(keeper.rested, timeout) for keeper in keepers))
        self._tick()
        return [keeper.info.id for keeper, is_off in zip(keepers, rested, strict=True) if not is_off]

    @property
    def finishing(self) -> bool:
        """Whether the run is coming to its end."""
        return self._done.is_set()

    def stop(self, reason: str = "stopped") -> None:
        """End the run because a person or a command asked for it."""
        self.finish(Finish(ok=True, reason=reason))

    def finish(self, finish: Finish) -> None:
        """Turn the devices off, submit what was found, and return `finish` from `run`. Only the first call counts."""
        if not self._done.is_set():
            self._result = finish
            self._done.set()

    async def replace_sources(self, sources: Sequence[Source]) -> None:
        """Mine for these sources from now on. A source that runs already goes on running."""
        fresh = {source.name: source for source in sources}
        leaving = {name: source for name, source in self._sources.items() if fresh.get(name) is not source}
        # A source that takes the name of another (it has other credentials) must wait until that one has gone.
        self._begin({name: source for name, source in fresh.items() if name not in leaving}, beside=leaving)
        await asyncio.gather(*(source.drain(DRAIN_S) for source in leaving.values()))
        for name in leaving:
            task = self._tasks.pop(name)
            task.cancel()
            await asyncio.wait([task])
            del self._sources[name]
            self._do(self._manager.dismiss(name, self._clock()))
        self._begin(fresh)

    def _begin(self, sources: Mapping[str, Source], beside: Mapping[str, Source] = MappingProxyType({})) -> None:
        """Choose among `sources` from now on and start those that do not run yet. `beside`: others, leaving."""
        self._sources = {**sources, **beside}
        self._do(self._manager.choose_among(tuple(sources), self._clock()))
        for name, source in sources.items():
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._run_source(source))

    # ---- the run

    async def run(self) -> Finish:
        """Mine until the end. Return how the run ended."""
        self._loop = asyncio.get_running_loop()
        for name, source in self._sources.items():
            self._tasks[name] = asyncio.create_task(self._run_source(source))
        for keeper in self._keepers.values():
            keeper.start()
        try:
            await self._tick_until_done()
            await self._come_to_rest()
        finally:
            for task in self._tasks.values():
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks.values())
            self._dropped.flush()
            tell_refused(self._refused.flush())
            self._show(self._take_snapshot())
        return self._result

    async def _tick_until_done(self) -> None:
        shown = 0.0
        while not self._done.is_set():
            self._look_for_the_beginning()
            self._tick()
            self._dropped.tick()
            tell_refused(self._refused.tick(self._clock()))
            if self._clock() - shown >= SNAPSHOT_S:
                shown = self._clock()
                self._show(self._take_snapshot())
            try:
                await asyncio.wait_for(self._done.wait(), TICK_S)
            except TimeoutError:
                continue

    def _tick(self) -> None:
        self._handle(Tick(self._hashes_for(), self._exhausted(), resting=bool(self._holds)))

    def _hashes_for(self) -> dict[str, int]:
        """The hashes that all devices did for each source."""
        return dict(sum((Counter(keeper.feed.hashes_for()) for keeper in self._keepers.values()), Counter[str]()))

    def _exhausted(self) -> frozenset[int]:
        """Ids of exhausted jobs on which devices wait. Logged once for each source, since some send new jobs slowly."""
        waited_on = (keeper.feed.exhausted for keeper in self._keepers.values())
        jobs = frozenset(job for job in waited_on if job is not None)
        served = self._manager.served
        if served is not None and served.id in jobs and served.source not in self._starving:
            self._starving.add(served.source)
            log.warning(
                "work_exhausted", source=served.source, text="devices wait: its jobs leave too little to search"
            )
        return jobs

    def _look_for_the_beginning(self) -> None:
        if self._began:
            return
        began = [keeper.feed.began for keeper in self._keepers.values() if keeper.feed.began is not None]
        if began:
            self._began = True
            self._began_wall = self._wall() - (self._clock() - min(began))
            self._manager.handle(MiningBegan(), min(began))
            log.info("mining_began", at=self._began_wall)

    async def _come_to_rest(self) -> None:
        for keeper in self._keepers.values():
            keeper.end()
        waits = [asyncio.to_thread(keeper.join, OFF_S) for keeper in self._keepers.values()]
        for keeper, is_off in zip(self._keepers.values(), await asyncio.gather(*waits), strict=True):
            if not is_off:
                log.error("device_not_off", device=keeper.info.id, seconds=OFF_S)
        self._look_for_the_beginning()
        self._mined_s = self._manager.mining_s(self._clock())
        self._handle(Tick(self._hashes_for()))
        await asyncio.gather(*(source.drain(DRAIN_S) for source in self._sources.values()))
        self._do(self._manager.close())

    async def _run_source(self, source: Source) -> None:
        """Run the source until it ends by itself. After a defect of this program, run it again later."""
        pause_s = AGAIN_S
        while True:
            began = self._clock()
            try:
                await source.run(self._handle)
            except Exception as error:
                pause_s = AGAIN_S if self._clock() - began >= AGAIN_LONGEST_S else pause_s
                log.exception("source_defect", source=source.name, again_in_s=pause_s)
                self._handle(SourceFailed(source.name, f"a defect of this miner: {type(error).__name__}: {error}"))
            else:
                return
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # a task group raises the defect instead of the cancellation
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, AGAIN_LONGEST_S)

    # ---- events and effects

    def _found(self, found: Found) -> None:
        """Take a hit from the device's thread."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._handle, found)
        except RuntimeError:  # the loop is closed: a device that was not off in time
            log.warning("hit_after_the_end", device=found.device)
            self._lose(found, "its device reported it after the end of the run")

    def _handle(self, event: Event) -> None:
        source = getattr(event, "source", None) or getattr(getattr(event, "job", None), "source", None)
        if source is not None and source not in self._sources:  # the last event of a source that was taken out
            if isinstance(event, Found):
                self._lose(event, "its source was taken out before")
            return
        tell_event(event, self._manager.pending, self._refused, self._clock())
        if self._share_log and isinstance(event, Answered):
            self._share_log.answered(event.answer)
        self._do(self._manager.handle(event, self._clock()))

    def _do(self, effects: Sequence[object]) -> None:
        for effect in effects:
            match effect:
                case Serve(job, replace):
                    for keeper in self._keepers.values():
                        keeper.feed.serve(job, replace=replace)
                case Retire(jobs):
                    for keeper in self._keepers.values():
                        keeper.feed.retire(jobs)
                case Submit(share):
                    if self._share_log:
                        self._share_log.sent(share)
                    self._sources[share.job.source].submit(share)
                case BlockDropped():
                    self._dropped.tell(effect)
                case Distrust(name, reason, rest_s):
                    log.warning("source_distrusted", source=name, reason=reason, again_in_s=rest_s)
                case Trust(name):
                    log.info("source_trusted", source=name)
                case Finish():
                    self.finish(effect)

    def _lose(self, found: Found, reason: str) -> None:
        """Log a hit that cannot go to any source, if it solves a block. Any thread."""
        if found.hash <= found.job.network_target:
            self._dropped.tell(BlockDropped.of(Fate.LOST, found, reason))

    # ---- what can be seen

    def _show(self, snapshot: Snapshot) -> None:
        if self._alarms:
            for alarm in self._alarms.handle(snapshot):
                tell_alarm(alarm)
            snapshot = replace(snapshot, alarms=self._alarms.standing())
        self._latest = snapshot
        for watcher in self._watchers:
            try:
                watcher(snapshot)
            except Exception:  # a watcher's defect must not end the mining
                if watcher not in self._stumbled:
                    self._stumbled.append(watcher)
                    log.exception("watcher_defect")

    def _take_snapshot(self) -> Snapshot:
        now = self._clock()
        devices = tuple(
            device_view(keeper, self._manager.shares_of(device)) for device, keeper in self._keepers.items()
        )
        served = self._manager.served
        snapshot = Snapshot(
            now=now,
            mining_s=self._manager.mining_s(now) if self._mined_s is None else self._mined_s,
            started_at=self._began_wall,
            devices=devices,
            sources=tuple(source_view(place, each, now) for place, each in enumerate(self._manager.standings)),
            hashes=sum(device.hashes for device in devices),
            rate_hps={window: _sum(device.rate_hps[window] for device in devices) for window in WINDOWS_S},
            best_difficulty=self._manager.best_difficulty,
            height=served.height if served else None,
            network_difficulty=Target(served.network_target).difficulty if served else None,
            worthless=self.worthless,
            held=dict(self._holds),
        )
        if self._metering is None:
            return snapshot
        return self._metering.handle(snapshot, {name: keeper.seen_at for name, keeper in self._keepers.items()})


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
