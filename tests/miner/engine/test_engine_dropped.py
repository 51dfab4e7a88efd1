"""No found block vanishes between a device and its source without a line that names it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from structlog.testing import capture_logs
from structlog.typing import EventDict

from miner.engine.engine import Engine
from miner.sources.base import Post
from miner.work.events import Answered, NewJob, SourceUp
from miner.work.job import Job
from miner.work.manager import Manager
from miner.work.share import Answer, Share
from tests.work.making import EASY, a_found, a_job

BLOCK = EASY // 4


class Mute:
    """A source that takes shares and never answers."""

    name = "pool"

    def __init__(self) -> None:
        self.submitted: list[Share] = []

    async def run(self, post: Post) -> None:
        del post

    def submit(self, share: Share) -> None:
        self.submitted.append(share)

    async def drain(self, timeout: float) -> None:
        del timeout

    async def check(self) -> list[str]:
        return []


def mining() -> tuple[Engine, Mute, Job]:
    """An engine without devices whose source has sent a job."""
    source = Mute()
    engine = Engine(Manager([source.name]), [source])
    job = replace(a_job(network_target=BLOCK), height=840_000)
    engine._handle(SourceUp(source.name))
    engine._handle(NewJob(job, replace=True))
    return engine, source, job


def take_out(engine: Engine) -> None:
    """Reload, with no source left."""

    async def main() -> None:
        engine._begin(dict(engine._sources))
        await engine.replace_sources([])

    asyncio.run(main())


def told(lines: list[EventDict]) -> list[tuple[str, int, str]]:
    return [(line["event"], line["height"], line["block"]) for line in lines if "block" in line]


def test_a_hit_of_a_source_that_was_taken_out_is_told_if_it_solves_a_block() -> None:
    engine, _, job = mining()
    take_out(engine)
    with capture_logs() as lines:
        engine._handle(a_found(job, EASY, 1))
        engine._handle(a_found(job, BLOCK, 2))
    assert told(lines) == [("block_lost", 840_000, f"{BLOCK:064x}")]
    assert "taken out" in lines[0]["reason"]


def test_a_hit_after_the_end_is_told_if_it_solves_a_block() -> None:
    engine, _, job = mining()
    engine._loop = asyncio.new_event_loop()
    engine._loop.close()
    with capture_logs() as lines:
        engine._found(a_found(job, EASY, 1))
        engine._found(a_found(job, BLOCK, 2))
    assert [line["event"] for line in lines] == ["hit_after_the_end", "hit_after_the_end", "block_lost"]
    assert told(lines) == [("block_lost", 840_000, f"{BLOCK:064x}")]


def test_a_block_that_was_not_answered_before_the_end_is_told_and_a_share_is_not() -> None:
    engine, source, job = mining()
    engine._handle(a_found(job, EASY, 1))
    engine._handle(a_found(job, BLOCK, 2))
    assert [share.block for share in source.submitted] == [False, True]
    engine.stop()
    with capture_logs() as lines:
        asyncio.run(engine.run())
    assert told(lines) == [("block_unanswered", 840_000, f"{BLOCK:064x}")]


def test_a_block_that_a_source_did_not_answer_before_it_was_taken_out_is_told() -> None:
    engine, _, job = mining()
    engine._handle(a_found(job, BLOCK))
    with capture_logs() as lines:
        take_out(engine)
    assert told(lines) == [("block_unanswered", 840_000, f"{BLOCK:064x}")]


def test_the_answer_to_a_block_names_it() -> None:
    engine, source, job = mining()
    with capture_logs() as lines:
        for nonce, accepted in enumerate((True, False)):
            engine._handle(a_found(job, BLOCK - nonce, nonce))
            share = source.submitted[-1]
            engine._handle(Answered("pool", Answer(share.id, accepted=accepted, block=True)))
    assert told(lines) == [
        ("block_accepted", 840_000, f"{BLOCK:064x}"),
        ("block_rejected", 840_000, f"{BLOCK - 1:064x}"),
    ]


def test_withheld_blocks_are_told_with_their_number_at_the_end() -> None:
    engine, source, _ = mining()
    regtest = replace(a_job(share_target=EASY, network_target=EASY, prev_hash=bytes(32)), height=101)
    engine._handle(NewJob(regtest, replace=True))
    with capture_logs() as lines:
        for nonce in range(500):
            engine._handle(a_found(regtest, EASY, nonce))
        engine.stop()
        asyncio.run(engine.run())
    assert len(source.submitted) == 1
    withheld = [line for line in lines if line["event"] == "block_withheld"]
    assert len(withheld) < 10
    assert sum(1 + line.get("more", 0) for line in withheld) == 499
