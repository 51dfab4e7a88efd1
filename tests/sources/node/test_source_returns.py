"""A node that goes back to an earlier block, by order or by accident, gets blocks on it again, and none is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from miner.sources.node.journal import Journal
from miner.work.events import Answered, Fate, NewJob, SourceEvent
from miner.work.share import Answer, Reason, Share
from tests.sources.node.rig import at, files
from tests.sources.node.solo import Solo, solo
from tests.virtual import node as virtual
from tests.virtual.node import VirtualNode


def test_five_blocks_invalidated_and_reconsidered_while_mining(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node), Journal(tmp_path)) as miner:
                await miner.mine(7)
                ours = list(node.blocks)
                node.invalidate(5)
                await miner.back_to(2)
                assert node.height == 2
                await miner.mine(3)
                branch = list(node.blocks)
                assert branch[:2] == ours[:2] and branch[2] != ours[2]
                node.reconsider()
                await miner.back_to(7)
                assert node.blocks == ours
                await miner.mine(2)
                await miner.until(lambda: files(tmp_path, "block") == 0)
            assert node.height == 9
            assert all(answer.accepted for answer in miner.answers.values())
            assert len(miner.submitted) == 7 + 3 + 2
            assert not miner.dropped

    with capture_logs() as lines:
        asyncio.run(run())
    events = [(line["event"], line["height"]) for line in lines if line["event"].startswith(("block_dis", "block_res"))]
    displaced = [height for event, height in events if event == "block_displaced"]
    restored = [height for event, height in events if event == "block_restored"]
    assert displaced == [3, 4, 5, 6, 7, 3, 4, 5]
    assert restored == [3, 4, 5, 6, 7]
    assert [line["answer"] for line in lines if line["event"] == "block_answered"].count("duplicate-invalid") == 5


def test_the_same_block_invalidated_again_and_again() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node)) as miner:
                await miner.mine(3)
                for _ in range(5):
                    node.invalidate(1)
                    await miner.back_to(2)
                    await miner.mine(1)
            assert len(miner.submitted) == 8
            assert not miner.dropped

    asyncio.run(run())


def test_a_node_that_lost_its_last_blocks_without_a_journal_gets_others_in_their_place() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node)) as miner:
                await miner.mine(5)
                node.stop()
                node.lose(3)
                node.start()
                await miner.back_to(2)
                await miner.mine(3)
            assert node.height == 5

    asyncio.run(run())


def test_a_node_that_dies_of_a_full_disk_gets_the_block_and_those_it_lost_when_it_is_back(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node), Journal(tmp_path)) as miner:
                await miner.mine(4)
                ours = list(node.blocks)
                node.on("submitblock", virtual.dies_of_a_full_disk)
                served = miner.manager.served
                assert served is not None
                share = miner.hit(served)
                assert share is not None
                await miner.until(lambda: not node._running)
                node.lose(2)
                node.start()
                await miner.until(lambda: share.id in miner.answers)
                assert miner.answers[share.id].accepted
                assert node.blocks[:4] == ours and node.height == 5
                await miner.back_to(5)
                await miner.mine(1)
                await miner.until(lambda: files(tmp_path, "settled") == 6)
            assert not miner.dropped

    asyncio.run(run())


@pytest.mark.parametrize("method", ["getblocktemplate", "longpoll"])
def test_a_template_that_our_block_overtook_brings_no_second_block_on_its_parent(method: str) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node)) as miner:
                await miner.mine(2)
                for _ in range(3):
                    asked = node.count(method)
                    node.on(method, virtual.overtaken)
                    await miner.until(lambda asked=asked: node.count(method) > asked or node.touch())
                    served = miner.manager.served
                    assert served is not None
                    answer = await miner.block()
                    await miner.back_to(node.height)
                    await miner.until(lambda method=method: not node._faults[method])
                    late = [event for event in after(miner, answer) if isinstance(event, NewJob)]
                    assert served.prev_hash not in [event.job.prev_hash for event in late]
            assert not [verdict for _, verdict in node.received if verdict]

    asyncio.run(run())


def after(miner: Solo, answer: Answer) -> list[SourceEvent]:
    """What the source has said since this answer."""
    at = next(at for at, event in enumerate(miner.heard) if isinstance(event, Answered) and event.answer is answer)
    return miner.heard[at + 1 :]


REFUSALS = {
    "inconclusive": Reason.STALE,
    "duplicate-inconclusive": Reason.STALE,
    "duplicate-invalid": Reason.OTHER,
    "bad-prevblk": Reason.STALE,
    "stale-prevblk": Reason.STALE,
    "high-hash": Reason.LOW_DIFFICULTY,
    "bad-txnmrklroot": Reason.MALFORMED,
    "rejected": Reason.OTHER,
}


def said_of(share: Share, lines: list[EventDict]) -> list[tuple[str, str]]:
    block = f"{share.hash:064x}"
    answers = [line for line in lines if line["event"] == "block_answered" and line["block"] == block]
    return [(line["log_level"], line["answer"]) for line in answers]


def test_a_refusal_is_told_and_the_next_block_on_the_same_template_is_handed_in(tmp_path: Path) -> None:
    refused: dict[str, Share] = {}

    async def run() -> None:
        with VirtualNode() as node:
            async with solo(at(node), Journal(tmp_path)) as miner:
                await miner.mine(1)
                for word, reason in REFUSALS.items():
                    node.on("submitblock", virtual.result(word))
                    answer = await miner.block()
                    assert (answer.accepted, answer.reason, answer.text) == (False, reason, word)
                    refused[word] = miner.submitted[-1]
                    await miner.mine(1)
                    assert miner.submitted[-1].job.prev_hash == refused[word].job.prev_hash
                await miner.until(lambda: files(tmp_path, "block") == 0)
            assert not miner.dropped

    with capture_logs() as lines:
        asyncio.run(run())
    for word, share in refused.items():
        assert said_of(share, lines)[0] == ("warning", word)


def test_a_duplicate_is_a_block_that_the_node_has_and_an_unknown_parent_is_no_refusal(tmp_path: Path) -> None:
    async def run() -> Solo:
        with VirtualNode() as node:
            async with solo(at(node), Journal(tmp_path)) as miner:
                await miner.mine(1)
                node.on("submitblock", virtual.result("prev-blk-not-found"))
                assert (await miner.block()).accepted
                await miner.back_to(2)
                node.on("submitblock", virtual.reset_after_doing_it)
                assert (await miner.block()).accepted
                await miner.until(lambda: files(tmp_path, "block") == 0)
                return miner

    with capture_logs() as lines:
        miner = asyncio.run(run())
    assert said_of(miner.submitted[1], lines)[:2] == [("warning", "prev-blk-not-found"), ("info", "accepted")]
    assert said_of(miner.submitted[2], lines)[0] == ("info", "duplicate")


def test_a_flood_on_one_template_is_one_block_and_the_rest_is_told() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.on("submitblock", virtual.silence)
            async with solo(at(node), timeout=5) as miner:
                await miner.until(lambda: miner.manager.served)
                served = miner.manager.served
                assert served is not None
                assert miner.hit(served)
                assert not any(miner.hit(served) for _ in range(100))
                assert [block.fate for block in miner.dropped] == [Fate.WITHHELD] * 100

    asyncio.run(run())
