from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from miner.chain.block import Block
from miner.chain.network import Network
from miner.chain.subsidy import subsidy
from miner.sources.base import Source, SourceMisconfigured
from miner.sources.consensus import EngineFailed, Judge, Ruling
from miner.sources.embedded import EmbeddedSource, paced_target
from miner.work.events import Answered, NewJob, SourceEvent, SourceFailed, SourceUp
from miner.work.job import Job
from miner.work.share import Answer, Reason, Share
from tests.sources.embedded.search import share_of, solve

E = TypeVar("E", bound=SourceEvent)


class Recorder(Judge):
    """A judge that keeps what was put before it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[bytes] = []

    def submit(self, block: bytes) -> Ruling:
        self.blocks.append(block)
        return super().submit(block)


class Mining:
    """The engine's side of a running source."""

    def __init__(self, source: EmbeddedSource) -> None:
        self.source = source
        self.events: asyncio.Queue[SourceEvent] = asyncio.Queue()
        self.task = asyncio.create_task(source.run(self.events.put_nowait))

    async def next(self, kind: type[E]) -> E:
        event = await self.events.get()
        assert isinstance(event, kind), event
        return event

    async def job(self, *, replaces: bool = True) -> Job:
        event = await self.next(NewJob)
        assert event.replace is replaces
        return event.job

    async def answer(self, share: Share) -> Answer:
        self.source.submit(share)
        answered = await self.next(Answered)
        assert answered.answer.share_id == share.id
        return answered.answer

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@asynccontextmanager
async def mining(source: EmbeddedSource) -> AsyncIterator[Mining]:
    run = Mining(source)
    try:
        await run.next(SourceUp)
        yield run
    finally:
        await run.stop()


def slow_source(
    *, judge: Callable[[], Judge] = Judge, payout_script: bytes = b"\x51", wall: Callable[[], float] = time.time
) -> EmbeddedSource:
    """Blocks of ten hashes."""
    return EmbeddedSource(
        rate=lambda: 2.0, block_interval_s=5.0, judge=judge, payout_script=payout_script, wall=wall, look_s=60.0
    )


def test_it_is_a_source() -> None:
    source: Source = EmbeddedSource()
    assert source.name == "embedded"
    assert EmbeddedSource.worthless


def test_three_hundred_blocks_with_two_halvings_are_found_and_accepted_by_the_judge() -> None:
    judge: list[Recorder] = []

    def recorder() -> Recorder:
        judge.append(Recorder())
        return judge[0]

    async def scenario() -> None:
        script = b"\x00\x14" + bytes(range(20))
        began = time.time() - 3600
        async with mining(slow_source(judge=recorder, payout_script=script, wall=lambda: began)) as run:
            for height in range(1, 301):
                job = await run.job()
                assert job.height == height
                answer = await run.answer(solve(job, extranonce2=height.to_bytes(8, "big")))
                assert answer.accepted and answer.block, answer
                paid = Block.parse(judge[0].blocks[-1]).transactions[0].outputs[0]
                assert (paid.script, paid.value) == (script, subsidy(height, Network.REGTEST))
            assert judge[0].tip.height == 300

    asyncio.run(scenario())
    assert subsidy(300, Network.REGTEST) == 50 * 100_000_000 // 4


def test_a_second_share_on_the_same_tip_is_stale_and_the_judge_never_sees_it() -> None:
    judge: list[Recorder] = []

    def recorder() -> Recorder:
        judge.append(Recorder())
        return judge[0]

    async def scenario() -> None:
        async with mining(slow_source(judge=recorder)) as run:
            job = await run.job()
            first, second = solve(job), solve(job, extranonce2=b"\1" * 8)
            run.source.submit(first)
            run.source.submit(second)
            assert (await run.next(Answered)).answer.accepted
            assert (await run.job()).height == 2
            assert (await run.next(Answered)).answer.reason is Reason.STALE
            assert (await run.answer(first)).reason is Reason.DUPLICATE
            assert len(judge[0].blocks) == 1

    asyncio.run(scenario())


def test_an_unsound_share_is_answered_and_the_judge_never_sees_it() -> None:
    judge: list[Recorder] = []

    def recorder() -> Recorder:
        judge.append(Recorder())
        return judge[0]

    async def scenario() -> None:
        async with mining(slow_source(judge=recorder)) as run:
            job = await run.job()
            miss = next(share for nonce in range(1000) if not (share := share_of(job, nonce)).block)
            with capture_logs() as logs:
                assert (await run.answer(miss)).reason is Reason.MALFORMED
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["share_unsound"]
            assert judge[0].blocks == []

    asyncio.run(scenario())


def test_it_follows_the_rate_with_updates() -> None:
    rates = iter([None, 1e6, 1e6, 5e6])

    async def scenario() -> None:
        source = EmbeddedSource(rate=lambda: next(rates, 5e6), assumed_hps=1e9, block_interval_s=2.0, look_s=0.001)
        async with mining(source) as run:
            assert (await run.job()).network_target == paced_target(1e9, 2)
            assert (await run.job(replaces=False)).network_target == paced_target(1e6, 2)
            assert (await run.job(replaces=False)).network_target == paced_target(5e6, 2)

    asyncio.run(scenario())


def test_it_says_at_the_start_that_the_coins_are_worthless() -> None:
    async def scenario() -> None:
        with capture_logs() as logs:
            async with mining(slow_source()):
                pass
        (said,) = [entry for entry in logs if entry["event"] == "coins_are_worthless"]
        assert said["log_level"] == "warning" and "worthless" in said["notice"]

    asyncio.run(scenario())


def test_each_run_has_a_chain_and_a_session_of_its_own_and_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    source = slow_source()

    def folders() -> list[Path]:
        return list(tmp_path.iterdir())

    async def scenario() -> None:
        async with mining(source) as run:
            first = await run.job()
            await run.answer(solve(first))
            assert folders()
        assert not folders()
        async with mining(source) as run:
            second = await run.job()
            assert second.height == 1 and second.session > first.session

    asyncio.run(scenario())
    assert not folders()


def test_drain_returns_once_everything_is_answered() -> None:
    async def scenario() -> None:
        async with mining(slow_source()) as run:
            job = await run.job()
            run.source.submit(solve(job))
            await run.source.drain(2.0)
            assert (await run.next(Answered)).answer.accepted
        run.source.submit(solve(job))
        await run.source.drain(2.0)

    with capture_logs() as logs:
        asyncio.run(scenario())
    assert "shares_unanswered" not in [entry["event"] for entry in logs]


def test_drain_gives_up_after_its_time_without_an_error() -> None:
    async def scenario() -> None:
        async with mining(slow_source()) as run:
            share = solve(await run.job())
            run.source.submit(share)
            with capture_logs() as logs:
                await run.source.drain(-1.0)
            assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["shares_unanswered"]
            assert (await run.next(Answered)).answer.share_id == share.id

    asyncio.run(scenario())


def test_shares_are_answered_though_the_source_has_ended() -> None:
    async def scenario() -> None:
        async with mining(slow_source()) as run:
            job = await run.job()
        waiting = solve(job)
        assert (await run.answer(waiting)).reason is Reason.UNANSWERED

    asyncio.run(scenario())


def test_shares_that_wait_when_it_ends_are_answered() -> None:
    async def scenario() -> None:
        async with mining(slow_source()) as run:
            share = solve(await run.job())
            run.source.submit(share)
            await run.stop()
            answer = (await run.next(Answered)).answer
            assert (answer.share_id, answer.reason) == (share.id, Reason.UNANSWERED)

    asyncio.run(scenario())


def test_a_broken_engine_ends_the_source_with_a_sentence_and_the_share_is_answered() -> None:
    class Broken(Judge):
        def submit(self, block: bytes) -> Ruling:
            raise EngineFailed(f"no room for {len(block)} bytes")

    async def scenario() -> None:
        async with mining(slow_source(judge=Broken)) as run:
            answer = await run.answer(solve(await run.job()))
            assert (answer.accepted, answer.block, answer.reason) == (False, True, Reason.OTHER)
            assert "no room" in (await run.next(SourceFailed)).reason
            await run.task

    asyncio.run(scenario())


def test_an_engine_that_does_not_start_fails_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")

    async def scenario() -> None:
        run = Mining(slow_source())
        assert "does not start" in (await run.next(SourceFailed)).reason
        await run.task
        with pytest.raises(EngineFailed):
            await run.source.check()

    asyncio.run(scenario())


def test_check_says_what_it_is_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = "\n".join(asyncio.run(EmbeddedSource(block_interval_s=7).check()))
    for word in ("worthless", "regtest", "py-bitcoinkernel", "7 s", "script 51"):
        assert word in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("interval", [0.0, -1.0, float("nan"), float("inf"), 1e6])
def test_an_interval_that_makes_no_sense_is_refused(interval: float) -> None:
    with pytest.raises(SourceMisconfigured, match="interval"):
        EmbeddedSource(block_interval_s=interval)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan"), float("inf")])
def test_an_assumed_rate_that_cannot_be_is_refused(rate: float) -> None:
    with pytest.raises(SourceMisconfigured, match="hashes a second"):
        EmbeddedSource(assumed_hps=rate)
