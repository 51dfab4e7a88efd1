"""The whole source against a node in a thread, with hashlib in the place of devices."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from miner.chain.block import Block
from miner.chain.network import Network
from miner.sources.node import source as source_module
from miner.sources.node.assembly import process_tag
from miner.sources.node.journal import FoundBlock, Journal
from miner.sources.node.rpc import Endpoint, Password
from miner.sources.node.source import Node, NodeOptions, NodeSource
from miner.work.events import NewJob, SourceUp
from miner.work.share import Reason
from tests.sources.node.rig import PAYOUT, at, files, rig
from tests.sources.node.search import share_of
from tests.virtual import node as virtual
from tests.virtual.node import VirtualNode

# ---- mining


def test_twenty_blocks_with_transactions_raise_the_height_by_twenty(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.fill(5)
            before = node.height
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.mine(20)
                await miner.source.drain(5)
                await miner.until(lambda: files(tmp_path, "settled") == 20)
            assert node.height == before + 20
            first = Block.parse(node.blocks[before])
            assert len(first.transactions) == 6
            assert first.transactions[0].outputs[0].script == PAYOUT
            assert files(tmp_path, "block") == 0
            assert [type(event) for event in miner.events[:2]] == [SourceUp, NewJob]
            assert not miner.reasons()

    asyncio.run(run())


def test_a_block_is_on_the_disk_before_the_node_sees_it(tmp_path: Path) -> None:
    seen: list[int] = []

    def look(call: virtual.Call) -> None:
        seen.append(files(tmp_path, "block"))
        call.honestly()

    async def run() -> None:
        with VirtualNode() as node:
            node.always("submitblock", look)
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.mine(3)

    asyncio.run(run())
    assert seen[0] == 1 and all(count >= 1 for count in seen)


def test_news_of_somebody_elses_block_come_by_longpoll() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                await miner.job()
                await miner.until(lambda: node.count("longpoll"))
                templates = node.count("getblocktemplate")
                node.mine()
                await miner.until(lambda: miner.jobs[-1].height == 2)
                assert node.count("getblocktemplate") == templates
                assert isinstance(miner.events[-1], NewJob) and miner.events[-1].replace

    asyncio.run(run())


def test_two_sources_on_one_node_never_share_a_header() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as one, rig(at(node)) as two:
                for _ in range(10):
                    await asyncio.gather(one.mine(1), two.mine(1))
            headers = [block[:80] for block, _ in node.received]
            assert len(set(headers)) == len(headers) >= 20
            coinbases = {block[81:200] for block, _ in node.received}
            assert len(coinbases) == len(headers)

    asyncio.run(run())


def test_a_stale_block_is_handed_in_and_answered_as_what_it_is() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                job = await miner.job()
                node.mine(2)
                share = miner.submit(job)
                await miner.until(lambda: share.id in miner.answers)
                answer = miner.answers[share.id]
                assert (answer.accepted, answer.block, answer.reason) == (False, True, Reason.STALE)

    asyncio.run(run())


def test_a_share_that_was_spoilt_never_leaves(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path)) as miner:
                share = replace(share_of(await miner.job()), nonce=0xFFFFFFFF)
                miner.source.submit(share)
                await miner.until(lambda: share.id in miner.answers)
                assert miner.answers[share.id].reason is Reason.MALFORMED
                await miner.source.drain(5)
            assert not node.received
            assert files(tmp_path, "block") == 0

    asyncio.run(run())


# ---- crashes of ours


def test_a_block_found_before_a_kill_is_handed_in_by_the_next_start(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.always("submitblock", virtual.silence)
            async with rig(at(node), Journal(tmp_path), timeout=60) as miner:
                miner.submit(await miner.job())
                await miner.until(lambda: node.count("submitblock"))
            assert files(tmp_path, "block") == 1 and not node.blocks
            node.heal()
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.until(lambda: node.height == 1)
                await miner.until(lambda: files(tmp_path, "settled") == 1)
                assert not miner.answers
                await miner.mine(1)

    asyncio.run(run())


def test_a_block_that_the_node_took_without_our_hearing_of_it_is_a_duplicate_and_settled(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.on("submitblock", virtual.reset_after_doing_it)
            async with rig(at(node), Journal(tmp_path)) as miner:
                share = miner.submit(await miner.job())
                await miner.until(lambda: share.id in miner.answers)
                assert miner.answers[share.id].accepted
                assert miner.answers[share.id].text == "duplicate"
                await miner.until(lambda: files(tmp_path, "settled") == 1)

    asyncio.run(run())


def test_blocks_of_another_chain_stay_where_they_are(tmp_path: Path) -> None:
    raw = virtual.block_on(virtual.Judge().tip)
    foreign = FoundBlock(virtual._sha256d(raw[:80])[::-1].hex(), 1, "signet", 0.0, raw)

    async def run() -> None:
        Journal(tmp_path).record(foreign)
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.mine(1)
                await miner.until(lambda: files(tmp_path, "settled") == 1)
            assert list(Journal(tmp_path).pending()) == [foreign]

    with capture_logs() as lines:
        asyncio.run(run())
    assert [(line["block"], "signet" in line["text"]) for line in lines if line["event"] == "block_kept"] == [
        (foreign.hash, True)
    ]


def test_a_node_on_another_chain_gets_no_block_of_earlier(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.always("submitblock", virtual.silence)
            async with rig(at(node), Journal(tmp_path)) as miner:
                miner.submit(await miner.job())
                await miner.until(lambda: node.count("submitblock"))
            node.heal()
            node.chain_name = "main"
            received = len(node.received)
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.until(miner.failed)
                await asyncio.sleep(0.1)
            assert len(node.received) == received
            assert files(tmp_path, "block") == 1

    asyncio.run(run())


def test_a_disk_that_is_full_does_not_keep_a_block_from_the_node(tmp_path: Path) -> None:
    (tmp_path / "blocks").touch()  # a file where the folder should be

    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path / "blocks")) as miner:
                await miner.mine(2)
            assert node.height == 2

    asyncio.run(run())


def test_a_disk_that_hangs_does_not_keep_blocks_from_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "JOURNAL_S", 0.05)
    back = threading.Event()

    class Hanging(Journal):
        def record(self, block: FoundBlock) -> None:
            assert back.wait(20)
            super().record(block)

    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Hanging(tmp_path)) as miner:
                await miner.mine(2)
                await miner.source.drain(5)
                assert files(tmp_path, "block") == files(tmp_path, "settled") == 0
                back.set()
                await miner.until(lambda: files(tmp_path, "settled") == 2)
            assert len(miner.answers) == node.height == len(node.received) == 2

    with capture_logs() as lines:
        asyncio.run(run())
    assert [line["height"] for line in lines if line["event"] == "block_not_written"] == [1, 2]


@pytest.mark.parametrize(
    ("kept", "level"), [(True, "warning"), (False, "error")], ids=["with a journal", "without a journal"]
)
def test_a_block_that_no_node_has_taken_at_the_end_is_told(tmp_path: Path, level: str, *, kept: bool) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path) if kept else None) as miner:
                await miner.mine(1)
                node.stop()
                miner.submit(miner.jobs[-1])
                await miner.until(lambda: miner.source._delivery.untaken)

    with capture_logs() as lines:
        asyncio.run(run())
    told = [line for line in lines if line["event"] == "block_not_taken"]
    assert [(line["log_level"], line["height"]) for line in told] == [(level, 2)]
    assert ("next start hands it in" in told[0]["text"]) is kept


# ---- several nodes


def test_blocks_go_to_every_node_at_once() -> None:
    async def run() -> None:
        with VirtualNode() as node, VirtualNode(login=("far", "p@ss")) as far:
            async with rig(at(node), also=(at(far),)) as miner:
                await miner.mine(5)
                await miner.until(lambda: far.height == 5)
            assert far.blocks == node.blocks

    asyncio.run(run())


def test_a_block_survives_the_death_of_the_node_that_made_its_template() -> None:
    async def run() -> None:
        with VirtualNode() as node, VirtualNode() as far:
            async with rig(at(node), also=(at(far),)) as miner:
                job = await miner.job()
                node.stop()
                share = miner.submit(job)
                await miner.until(lambda: share.id in miner.answers)
                assert miner.answers[share.id].accepted
            assert far.height == 1

    asyncio.run(run())


def test_a_further_node_that_is_never_there_delays_nothing_and_is_given_up(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node, VirtualNode() as far:
            nowhere = at(far)
            far.stop()
            async with rig(at(node), Journal(tmp_path), also=(nowhere,), haste=500) as miner:
                await miner.mine(3)
                await miner.source.drain(1)
                await miner.until(lambda: files(tmp_path, "settled") == 3)
                assert not miner.source._delivery._parcels
            assert node.height == 3

    asyncio.run(run())


# ---- the end


def test_a_cancelled_source_leaves_no_thread_behind() -> None:
    before = set(threading.enumerate())

    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                await miner.mine(1)
                await miner.until(lambda: node.count("longpoll"))

    asyncio.run(run())
    deadline = time.monotonic() + 5
    while {each for each in set(threading.enumerate()) - before if each.name.startswith("node ")}:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_source_that_has_ended_is_not_run_again() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                await miner.job()
            await asyncio.wait_for(miner.source.run(miner.hear), 10)

    asyncio.run(run())


def test_draining_waits_for_an_answer_but_not_for_ever() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.on("submitblock", virtual.silence)
            async with rig(at(node), timeout=0.3) as miner:
                share = miner.submit(await miner.job())
                began = time.monotonic()
                await miner.source.drain(0.05)
                assert time.monotonic() - began < 0.25
                assert share.id not in miner.answers
                await miner.source.drain(10)
                assert miner.answers[share.id].accepted

    asyncio.run(run())


def test_a_sources_name_is_where_the_node_is_and_no_more() -> None:
    node = Node(Endpoint("node.example", 8332), Password("user", "secret"))
    source = NodeSource(NodeOptions(node, Network.MAIN, PAYOUT, tag=process_tag()), None)
    assert source.name == "node.example:8332"
    assert "secret" not in repr(source._options)
