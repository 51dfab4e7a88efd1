"""A source goes on mining whatever its node does wrong, and whenever the node goes and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from miner.chain.network import Network
from miner.sources.base import SourceError
from miner.sources.node.journal import Journal
from miner.sources.node.rpc import Cookie
from miner.sources.node.template import TemplateReader
from miner.work.job import Job
from tests.sources.node.faults import FINAL_AT_FIRST, TEMPLATES, TRANSPORT, WORDS
from tests.sources.node.rig import Rig, at, files, rig
from tests.virtual import node as virtual
from tests.virtual.node import Fault, VirtualNode

# ---- faults


def is_sound(job: Job) -> bool:
    try:
        TemplateReader(Network.REGTEST).audit(job.payload.template)
    except SourceError:
        return False
    return True


def meets(method: str, fault: Fault, folder: Path) -> Rig:
    """Mine two blocks, meet the fault at this method, mine two more: nothing may be lost."""

    async def run() -> Rig:
        with VirtualNode() as node:
            async with rig(at(node), Journal(folder), timeout=0.25, haste=100) as miner:
                await miner.mine(2)
                node.on(method, *[fault] * 2)
                if method in ("getblockchaininfo", "getblocktemplate"):  # asked after an absence
                    node.stop()
                    await miner.until(miner.reasons)
                    node.start()
                await miner.mine(2)
                await miner.source.drain(5)
                await miner.until(lambda: files(folder, "block") == 0)
            accepted = [share for share in miner.shares if miner.answers[share.id].accepted]
            assert node.height == 4
            assert len(accepted) == 4
            assert miner.failed() is None
        return miner

    return asyncio.run(run())


@pytest.mark.parametrize("name", [*TRANSPORT, *WORDS])
@pytest.mark.parametrize("method", ["getblockchaininfo", "getblocktemplate", "longpoll", "submitblock"])
def test_mining_goes_on_after_a_fault_of_any_kind_at_any_step(method: str, name: str, tmp_path: Path) -> None:
    meets(method, (TRANSPORT | WORDS)[name], tmp_path)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("method", ["getblocktemplate", "longpoll"])
def test_mining_goes_on_after_a_template_that_contradicts_itself(method: str, name: str, tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.fill(2)
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.job()
                await miner.until(lambda: node.count("longpoll"))
                met: list[str] = []

                def fault(call: virtual.Call) -> None:
                    TEMPLATES[name](call)
                    met.append(name)

                node.on(method, fault)
                await miner.until(lambda: met or node.touch())
                await miner.until(lambda: is_sound(miner.jobs[-1]))
                await miner.mine(2)
                await miner.source.drain(5)
            assert miner.failed() is None
            assert all(verdict in (None, "inconclusive") for _, verdict in node.received)

    asyncio.run(run())


@pytest.mark.parametrize("name", [name for name in TRANSPORT | WORDS if name not in FINAL_AT_FIRST])
@pytest.mark.parametrize("method", ["getblockchaininfo", "getblocktemplate", "proposal"])
def test_a_fault_before_the_first_job_is_waited_out(method: str, name: str) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.on(method, (TRANSPORT | WORDS)[name])
            async with rig(at(node), timeout=0.25, haste=100) as miner:
                await miner.mine(1)
            assert node.count(method) > 1
            assert all(reason.isprintable() for reason in miner.reasons())

    asyncio.run(run())


def test_connections_that_end_before_the_request_is_read() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.reset_before_reading(5)
            async with rig(at(node)) as miner:
                await miner.mine(1)

    asyncio.run(run())


def test_connections_that_the_node_closed_while_idle_cost_nothing() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                for _ in range(3):
                    await miner.mine(1)
                    await miner.until(lambda: node.count("longpoll"))
                    node.drop_idle()
            assert not miner.reasons()

    asyncio.run(run())


def test_faults_that_never_end_do_not_make_it_spin() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.always("getblockchaininfo", virtual.status(500))
            async with rig(at(node)) as miner:
                await asyncio.sleep(1.0)  # 25 s on its clock
                assert 3 <= node.count("getblockchaininfo") <= 10
                assert not miner.jobs

    asyncio.run(run())


# ---- the node comes and goes


def test_a_node_that_is_killed_and_comes_back_with_another_cookie(tmp_path: Path) -> None:
    async def run() -> None:
        cookie = tmp_path / ".cookie"
        with VirtualNode(cookie=cookie) as node:
            async with rig(at(node, Cookie(cookie)), Journal(tmp_path / "blocks")) as miner:
                await miner.mine(2)
                node.stop()
                await miner.until(miner.reasons)
                late = miner.submit(miner.jobs[-1])  # found while nobody was there to take it
                await asyncio.sleep(0.1)
                assert late.id not in miner.answers
                node.start()
                await miner.until(lambda: late.id in miner.answers)
                assert miner.answers[late.id].accepted
                await miner.mine(2)
            assert node.height == 5

    asyncio.run(run())


def test_blocks_that_the_node_lost_are_handed_in_again(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.mine(6)
                ours = list(node.blocks)
                node.stop()
                node.lose(3)  # killed before they were on its disk
                await miner.until(miner.reasons)
                node.start()
                await miner.until(lambda: node.height == 6)
                assert node.blocks == ours
                await miner.mine(2)
            assert node.height == 8

    asyncio.run(run())


def test_blocks_that_the_node_lost_together_with_us_are_handed_in_again(tmp_path: Path) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.mine(4)
                await miner.until(lambda: files(tmp_path, "settled") == 4)
            node.lose(2)
            async with rig(at(node), Journal(tmp_path)) as miner:
                await miner.until(lambda: node.height == 4)

    asyncio.run(run())


def test_a_tip_that_goes_back_under_a_living_connection_is_followed() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.mine(5)
            async with rig(at(node)) as miner:
                await miner.job()
                node.lose(2)
                await miner.until(lambda: miner.jobs[-1].height == 4)
                await miner.mine(1)
            assert node.height == 4

    asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "says"), [(-28, "starting up"), (-9, "no peers"), (-10, "still downloading the chain")]
)
def test_a_node_that_is_not_ready_is_waited_for(code: int, says: str) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            node.refuses = (code, "wait")
            async with rig(at(node)) as miner:
                await miner.until(miner.reasons)
                assert says in miner.reasons()[0]
                node.refuses = None
                await miner.mine(1)

    asyncio.run(run())
