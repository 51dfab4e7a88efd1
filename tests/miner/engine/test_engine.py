"""The whole machine in one process: real threads, synthetic devices, made-up work; only the metal is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from backends.base import State, Telemetry
from backends.testing import Fault, SyntheticDevice
from miner.engine import engine as engine_module
from miner.engine.engine import Engine
from miner.engine.metering import Metering
from miner.sources.base import Post, Source
from miner.sources.synthetic import SyntheticOptions, SyntheticSource
from miner.telemetry.alarm import Stage
from miner.telemetry.alarm_rules import MINER, Thresholds, rules
from miner.telemetry.alarms import Alarms
from miner.telemetry.snapshot import Snapshot
from miner.work.events import Answered, Finish, NewJob, SourceDown, SourceEvent, SourceFailed, SourceUp
from miner.work.limits import Limits
from miner.work.manager import Manager
from miner.work.share import Answer, Reason, Share
from miner.work.watch import Patience

QUICK = Patience(silent_s=0.3, starting_s=0.3, tries=1, backoff_s=0.01, trial_s=0.05)
EASY = SyntheticOptions(share_interval_s=0.02, job_interval_s=0.2)


def easy_source(name: str = "synthetic:") -> SyntheticSource:
    return SyntheticSource(name, EASY, rate=lambda: 20_000.0)


class Deliberate(SyntheticSource):
    """A source that answers each share only when it is drained, as a pool far away might."""

    def __init__(self, name: str = "deliberate") -> None:
        super().__init__(name, EASY, rate=lambda: 20_000.0)
        self.waiting: list[Share] = []
        self.drained = False

    def submit(self, share: Share) -> None:
        if self.drained:  # devices go on until the next pool has work
            super().submit(share)
        else:
            self.waiting.append(share)

    async def drain(self, timeout: float) -> None:
        self.drained = True
        while self.waiting:
            super().submit(self.waiting.pop(0))
        await super().drain(timeout)


class Broken:
    """A source whose code is wrong."""

    name = "broken"

    async def run(self, post: Post) -> None:
        post(SourceUp(self.name))
        raise ZeroDivisionError("by design")

    def submit(self, share: Share) -> None:
        raise AssertionError(share)

    async def drain(self, timeout: float) -> None:
        del timeout

    async def check(self) -> list[str]:
        return []


def engine_for(sources: Sequence[Source], devices: Sequence[SyntheticDevice], limits: Limits) -> Engine:
    manager = Manager([source.name for source in sources], limits)
    engine = Engine(manager, sources, worthless=True, patience=QUICK, look_s=0.02)
    for device in devices:
        engine.add_device(device.info, lambda device=device: device)  # type: ignore[misc]
    return engine


def run(engine: Engine) -> Finish:
    return asyncio.run(asyncio.wait_for(engine.run(), 60))


def run_until(engine: Engine, seen: Callable[[Snapshot], bool]) -> Finish:
    """Run until a snapshot looks as wanted."""

    async def main() -> Finish:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while not seen(engine._take_snapshot()):
                await asyncio.sleep(0.02)
        engine.stop("seen")
        return await task

    return asyncio.run(main())


def test_it_stops_by_itself_when_enough_shares_are_accepted() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice()], Limits(shares=5))
    finish = run(engine)
    snapshot = engine.latest
    assert finish.ok
    assert finish.reason == "5 shares accepted" or snapshot.sources[0].accepted > 5
    assert snapshot.sources[0].accepted >= 5
    assert snapshot.hashes > 0
    assert snapshot.mining_s > 0
    assert snapshot.devices[0].hits >= 5


def test_shares_under_way_at_the_end_are_answered_before_the_run_returns() -> None:
    engine = engine_for([Deliberate()], [SyntheticDevice("a"), SyntheticDevice("b")], Limits())
    run_until(engine, lambda snapshot: snapshot.sources[0].submitted >= 5)
    source = engine.latest.sources[0]
    assert source.submitted == source.accepted + source.stale
    assert source.accepted >= 5
    assert source.rejected == {}


def test_shares_under_way_are_answered_before_a_reload_takes_their_pool_out() -> None:
    leaving = Deliberate("leaving")
    engine = engine_for([leaving], [SyntheticDevice()], Limits())

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while len(leaving.waiting) < 3:
                await asyncio.sleep(0.02)
            await engine.replace_sources([easy_source("staying")])
        engine.stop()
        await task

    asyncio.run(main())
    left = next(source for source in engine.latest.sources if source.name == "leaving")
    assert left.accepted >= 3
    assert left.rejected == {}


def test_a_watcher_that_fails_ends_neither_the_mining_nor_what_others_see() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice()], Limits(shares=1))
    seen: list[Snapshot] = []

    def fails(snapshot: Snapshot) -> None:
        raise ZeroDivisionError(snapshot.hashes)

    engine.each_second(fails)
    engine.each_second(seen.append)
    assert run(engine).ok
    assert seen


def test_devices_are_off_when_it_returns() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice()], Limits(shares=1))
    run(engine)
    assert engine.latest.devices[0].telemetry.state is State.OFF


def test_a_device_that_is_found_when_all_comes_to_rest_stays_off() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice("here")], Limits())
    late = SyntheticDevice("late")
    engine.stop("over")
    engine.add_device(late.info, lambda: late)
    run(engine)
    assert [device.info.id for device in engine.latest.devices] == ["here"]
    assert late.telemetry().state is State.OFF


@pytest.mark.parametrize("fault", [Fault.CRASHING, Fault.SILENT, Fault.LYING])
def test_a_misbehaving_device_is_given_up_and_the_others_mine_on(fault: Fault) -> None:
    good, bad = SyntheticDevice("good"), SyntheticDevice("bad", fault=fault)
    engine = engine_for([easy_source()], [good, bad], Limits())

    def given_up_while_mining_goes_on(snapshot: Snapshot) -> bool:
        well, ill = snapshot.devices
        return ill.telemetry.state is State.DEAD and well.telemetry.state is State.MINING and well.shares >= 3

    run_until(engine, given_up_while_mining_goes_on)
    well, ill = engine.latest.devices
    assert ill.telemetry.fault
    assert well.hardware_errors == 0
    assert engine.latest.sources[0].rejected == {}


def test_a_device_that_cannot_be_opened_costs_nothing_but_itself() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice("good")], Limits(shares=3))

    def refuse() -> SyntheticDevice:
        raise OSError("no such thing")

    engine.add_device(SyntheticDevice("absent").info, refuse)
    assert run(engine).ok
    assert engine.latest.devices[1].hashes == 0


def test_a_device_that_is_slow_to_stop_does_not_keep_the_end_waiting_for_ever() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice(fault=Fault.SLOW_STOP, lag_s=0.5)], Limits(shares=1))
    assert run(engine).ok
    assert engine.latest.devices[0].telemetry.state is State.OFF


def test_a_defect_in_a_source_ends_that_source_and_the_next_is_mined() -> None:
    engine = engine_for([Broken(), easy_source()], [SyntheticDevice()], Limits(shares=2))
    assert run(engine).ok
    assert "ZeroDivisionError" in (engine.latest.sources[0].failed or "")


class Heightless(SyntheticSource):
    """A source whose jobs do not say how high they are, as those of a pool with an odd coinbase."""

    async def run(self, post: Post) -> None:
        def posted(event: SourceEvent) -> None:
            if isinstance(event, NewJob):
                event = replace(event, job=replace(event.job, height=None))
            post(event)

        await super().run(posted)


def test_jobs_without_a_height_are_mined_and_none_is_told() -> None:
    engine = engine_for([Heightless("heightless", EASY, rate=lambda: 20_000.0)], [SyntheticDevice()], Limits(shares=3))
    with capture_logs() as logs:
        assert run(engine).ok
    assert engine.latest.height is None
    accepted = [entry for entry in logs if entry["event"] == "share_accepted"]
    assert accepted
    assert all("height" not in entry for entry in accepted)


class Stumbling(SyntheticSource):
    """A source whose code is wrong at first."""

    falls = 4

    async def run(self, post: Post) -> None:
        self.falls -= 1
        if self.falls >= 0:
            raise ZeroDivisionError("by design")
        await super().run(post)


def test_a_source_that_a_defect_ended_is_run_again_after_pauses_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "AGAIN_S", 0.001)
    monkeypatch.setattr(engine_module, "AGAIN_LONGEST_S", 0.004)
    stumbling = Stumbling("stumbling", EASY, rate=lambda: 20_000.0)
    engine = engine_for([stumbling, Scripted()], [SyntheticDevice()], Limits(shares=2))
    with capture_logs() as logs:
        assert run(engine).ok
    falls = [entry for entry in logs if entry["event"] in ("source_defect", "source_failed")]
    assert [entry["event"] for entry in falls] == ["source_defect", "source_failed"] * 4
    assert [entry["again_in_s"] for entry in falls[::2]] == [0.001, 0.002, 0.004, 0.004]
    source = engine.latest.sources[0]
    assert (source.failed, source.accepted >= 2) == (None, True)


def test_a_defect_at_the_very_end_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "AGAIN_S", 0.001)
    runs = []

    class Clinging(Broken):
        async def run(self, post: Post) -> None:
            runs.append(post)
            if len(runs) == 1:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError as cancelled:
                    raise ZeroDivisionError("by design") from cancelled

    assert run(engine_for([Clinging(), easy_source()], [SyntheticDevice()], Limits(shares=2))).ok
    assert len(runs) == 1


def test_with_every_source_failed_it_ends_and_says_why() -> None:
    finish = run(engine_for([Broken()], [SyntheticDevice()], Limits()))
    assert not finish.ok
    assert "ZeroDivisionError" in finish.reason


def test_sources_can_be_exchanged_while_it_runs() -> None:
    first, second = easy_source("first"), easy_source("second")
    engine = engine_for([first], [SyntheticDevice()], Limits())

    async def main() -> Finish:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while engine._take_snapshot().sources[0].accepted < 2:
                await asyncio.sleep(0.02)
            await engine.replace_sources([second])
            while engine._take_snapshot().sources[0].accepted < 2:
                await asyncio.sleep(0.02)
        engine.stop()
        return await task

    assert asyncio.run(main()).ok
    now, before = engine.latest.sources
    assert (now.name, before.name) == ("second", "first")
    assert before.accepted >= 2  # what was done for it does not vanish from the sums
    assert before.submitted == before.accepted + before.stale + sum(before.rejected.values())


def test_a_source_of_the_same_name_takes_the_place_of_the_old_one() -> None:
    old, new = easy_source(), easy_source()
    engine = engine_for([old], [SyntheticDevice()], Limits())

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while engine._take_snapshot().sources[0].accepted < 2:
                await asyncio.sleep(0.02)
            await engine.replace_sources([new])
            before = engine._take_snapshot().sources[0].accepted
            while engine._take_snapshot().sources[0].accepted < before + 3:
                await asyncio.sleep(0.02)
        engine.stop()
        await task

    asyncio.run(main())
    (source,) = engine.latest.sources
    assert source.submitted == source.accepted + source.stale + sum(source.rejected.values())


def test_telemetry_that_is_none_costs_that_device_only() -> None:
    class Mute(SyntheticDevice):
        def telemetry(self) -> Telemetry:
            return None  # type: ignore[return-value]

    mute = Mute("mute")
    engine = engine_for([easy_source()], [SyntheticDevice("good"), mute], Limits())

    def given_up(snapshot: Snapshot) -> bool:
        well, ill = snapshot.devices
        return ill.telemetry.state is State.DEAD and well.shares >= 3

    run_until(engine, given_up)
    assert SyntheticDevice.telemetry(mute).state is State.OFF


def test_a_device_can_come_and_go_while_it_runs() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice("stays")], Limits())
    late = SyntheticDevice("late")

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        engine.add_device(late.info, lambda: late)
        async with asyncio.timeout(60):
            while not all(device.hashes for device in engine._take_snapshot().devices):
                await asyncio.sleep(0.02)
            await engine.remove_device("late")
        engine.stop()
        await task

    asyncio.run(main())
    assert late.telemetry().state is State.OFF
    stays, gone = engine.latest.devices
    assert (gone.info.id, gone.telemetry.state) == ("late", State.OFF)
    assert gone.hashes > 0
    assert engine.latest.hashes == stays.hashes + gone.hashes


def test_a_device_that_comes_back_goes_on_where_it_left_off() -> None:
    engine = engine_for([easy_source()], [SyntheticDevice("stays")], Limits())
    late = SyntheticDevice("late")

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            for _ in range(2):
                before = engine._take_snapshot().hashes
                engine.add_device(late.info, lambda: late)
                while engine._take_snapshot().devices[1].telemetry.state is not State.MINING:
                    await asyncio.sleep(0.02)
                await engine.remove_device("late")
                assert engine._take_snapshot().hashes >= before
        engine.stop()
        await task

    asyncio.run(main())
    assert len(engine.latest.devices) == 2


class Scripted(Broken):
    """A source that says what it is told to say."""

    name = "scripted"

    def __init__(self) -> None:
        self.post: Post | None = None
        self.submitted: list[Share] = []

    async def run(self, post: Post) -> None:
        self.post = post
        await asyncio.Event().wait()

    def submit(self, share: Share) -> None:
        self.submitted.append(share)


def test_a_last_word_of_a_source_that_was_taken_out_is_ignored() -> None:
    gone, stays = Scripted(), easy_source()
    engine = engine_for([gone], [SyntheticDevice()], Limits())

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while gone.post is None:
                await asyncio.sleep(0)
            await engine.replace_sources([stays])
            gone.post(SourceFailed("scripted", "too late"))
            gone.post(SourceDown("scripted", "too late"))
            while engine._take_snapshot().sources[0].accepted < 1:
                await asyncio.sleep(0.02)
        engine.stop()
        await task

    asyncio.run(main())
    assert engine.latest.sources[0].failed is None


def test_hits_are_sent_to_the_source_their_job_came_from() -> None:
    scripted, other = Scripted(), easy_source()
    engine = engine_for([scripted, other], [SyntheticDevice()], Limits())

    async def main() -> None:
        task = asyncio.create_task(engine.run())
        job = other._chain.next_job(0.0, 20_000.0).job
        async with asyncio.timeout(60):
            while scripted.post is None:
                await asyncio.sleep(0)
            ours = replace(job, source="scripted", arrived=engine._clock())
            scripted.post(SourceUp("scripted"))
            scripted.post(NewJob(ours, replace=True))
            while not scripted.submitted:
                await asyncio.sleep(0.02)
        engine.stop()
        await task

    asyncio.run(main())
    assert {share.job.source for share in scripted.submitted} == {"scripted"}


def test_waiting_for_the_last_answers_is_no_mining_time() -> None:
    class Slow(SyntheticSource):
        async def drain(self, timeout: float) -> None:
            await asyncio.sleep(0.5)
            await super().drain(timeout)

    engine = engine_for([Slow("slow", EASY, rate=lambda: 20_000.0)], [SyntheticDevice()], Limits(seconds=0.2))
    assert run(engine).ok
    assert 0.2 <= engine.latest.mining_s < 0.7


def test_a_snapshot_is_completed_by_metering_and_judged_by_alarms() -> None:
    """The wires: what a device says of its power becomes energy, and too much of it an alarm, in one snapshot."""

    class Hungry(SyntheticDevice):
        def telemetry(self) -> Telemetry:
            return replace(super().telemetry(), power_w=500.0, power_source="usb")

    source = easy_source()
    rule = next(rule for rule in rules(Thresholds(budget_w=400.0)) if rule.name == "power-over-budget")
    engine = Engine(
        Manager([source.name], Limits(seconds=2.5)),
        [source],
        look_s=0.02,
        metering=Metering(),
        alarms=Alarms([replace(rule, after_s=0.0)]),
    )
    device = Hungry()
    engine.add_device(replace(device.info, virtual=False), lambda: device)  # what emulated devices draw is nobody's
    views: list[Snapshot] = []
    engine.each_second(views.append)
    with capture_logs() as logs:
        assert run(engine).ok
    assert any(alarm.subject == MINER and alarm.stage is Stage.ACTIVE for view in views for alarm in view.alarms)
    assert [entry["alarm"] for entry in logs if entry["event"] == "alarm"] == ["power-over-budget"]
    last = engine.latest.devices[0]
    assert last.energy_by.keys() == {"usb"} and 0 < (last.energy_j or 0) < 500.0 * 20
    assert last.telemetry.power_w is None, "what is off draws nothing that we know of"


def test_a_hundred_refused_shares_get_a_few_lines_of_the_log_and_a_count() -> None:
    engine = engine_for([easy_source()], [], Limits())
    refused = Answer(1, accepted=False, block=False, reason=Reason.OTHER, text="no")
    with capture_logs() as logs:
        for _ in range(100):
            engine._handle(Answered("synthetic:", refused))
        engine.stop()
        assert run(engine).ok
    told = [entry for entry in logs if entry["event"] == "share_rejected"]
    assert len(told) < 10
    assert sum(1 + entry.get("more", 0) for entry in told) == 100


def test_a_hold_puts_every_device_to_rest_also_one_that_is_added_later_and_its_end_wakes_them() -> None:
    early, late = SyntheticDevice("early"), SyntheticDevice("late")
    engine = engine_for([easy_source()], [early], Limits())

    def states() -> list[State]:
        return [device.telemetry.state for device in engine._take_snapshot().devices]

    async def main() -> Finish:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while states() != [State.MINING]:
                await asyncio.sleep(0.005)
            engine.hold("interlock", "the interlock is open")
            engine.add_device(late.info, lambda: late)
            assert await engine.rest(20.0) == []
            assert (early.telemetry().state, late.telemetry().state) == (State.OFF, State.OFF)
            while states() != [State.PAUSED] * 2:
                await asyncio.sleep(0.005)
            held = engine._take_snapshot()
            mined_s = held.mining_s
            assert held.held == {"interlock": "the interlock is open"}
            assert [device.telemetry.fault for device in held.devices] == [None, None]  # no alarm is raised for them
            await asyncio.sleep(0.02)
            assert engine._take_snapshot().mining_s == mined_s
            hashes = held.hashes
            engine.release("interlock")
            while states() != [State.MINING] * 2 or engine._take_snapshot().hashes == hashes:
                await asyncio.sleep(0.005)
        engine.stop()
        return await task

    assert asyncio.run(main()).ok


def test_a_device_that_does_not_go_off_is_named_by_whoever_waits_for_it() -> None:
    slow = SyntheticDevice("slow", fault=Fault.SLOW_STOP, lag_s=0.3)
    engine = engine_for([easy_source()], [slow], Limits())

    async def main() -> Finish:
        task = asyncio.create_task(engine.run())
        async with asyncio.timeout(60):
            while engine._take_snapshot().devices[0].telemetry.state is not State.MINING:
                await asyncio.sleep(0.005)
            engine.hold("stopped", "stopped")
            assert await engine.rest(0.01) == ["slow"]
            assert await engine.rest(20.0) == []
        engine.stop()
        return await task

    assert asyncio.run(main()).ok


def test_an_engine_that_is_held_from_the_start_powers_no_device() -> None:
    device, powered = SyntheticDevice(), []
    engine = engine_for([easy_source()], [], Limits())
    engine.hold("interlock", "open")
    engine.add_device(device.info, lambda: device, powered.append)

    def paused(snapshot: Snapshot) -> bool:
        return snapshot.devices[0].telemetry.state is State.PAUSED

    assert run_until(engine, paused).ok
    assert powered == []
