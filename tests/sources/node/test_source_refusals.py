"""What a source cannot mend, and what a check says of it before any mining: by name, so that a person can."""

from __future__ import annotations

import asyncio
import time

import pytest

from miner.chain.network import Network
from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.node.rpc import Login, Password
from miner.sources.node.source import Node, NodeOptions, NodeSource
from tests.sources.node.faults import TEMPLATES, WORDS
from tests.sources.node.rig import PAYOUT, at, rig
from tests.virtual import node as virtual
from tests.virtual.node import Fault, VirtualNode

# ---- what a person must act on


def fails(node: VirtualNode, network: Network = Network.REGTEST, login: Login | None = None) -> str:
    async def run() -> str:
        async with rig(at(node, login), network=network) as miner:
            await miner.until(miner.failed)
            calls = len(node.calls)
            await asyncio.sleep(0.2)
            assert len(node.calls) == calls  # it does not go on asking
            assert not miner.jobs
            return miner.failed() or ""

    return asyncio.run(run())


def test_a_wrong_network_is_refused() -> None:
    with VirtualNode() as node:
        assert "the node follows regtest, the payout address is for mainnet" in fails(node, Network.MAIN)


def test_an_unknown_rule_is_refused_by_name() -> None:
    with VirtualNode() as node:
        node.on("getblocktemplate", virtual.changed(lambda t: t["rules"].append("!blake2b")))
        assert "!blake2b" in fails(node)


def test_a_rule_that_begins_to_bind_ends_the_mining_by_name() -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node)) as miner:
                await miner.mine(2)
                node.always("getblocktemplate", virtual.changed(lambda t: t["rules"].append("!blake2b")))
                node.always("longpoll", virtual.changed(lambda t: t["rules"].append("!blake2b")))
                share = miner.submit(miner.jobs[-1])  # found just before
                await miner.until(miner.failed)
                assert "!blake2b" in (miner.failed() or "")
                await miner.until(lambda: share.id in miner.answers)
                assert miner.answers[share.id].accepted

    asyncio.run(run())


def test_a_signet_of_somebody_else_is_refused() -> None:
    with VirtualNode() as node:
        node.on("getblocktemplate", virtual.changed(lambda t: t.update(signet_challenge="512103ad5e")))
        assert "must be signed" in fails(node)


def test_a_wrong_password_is_refused() -> None:
    with VirtualNode() as node:
        text = fails(node, login=Password("user", "hunter2"))
    assert "refuses the user and password" in text and "hunter2" not in text


def test_an_address_that_may_not_come_in_is_refused() -> None:
    with VirtualNode() as node:
        node.always("getblockchaininfo", virtual.status(403))
        assert "rpcallowip" in fails(node)


def test_a_node_that_makes_no_templates_is_refused() -> None:
    with VirtualNode() as node:
        node.always("getblocktemplate", virtual.error(-32601, "Method not found", 404))
        assert "cannot make templates" in fails(node)


def test_a_block_that_the_node_would_not_take_is_not_searched_for() -> None:
    with VirtualNode() as node:
        node.always("proposal", virtual.result("bad-cb-amount"))
        assert "bad-cb-amount" in fails(node)


def test_a_clock_that_is_off_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        with VirtualNode() as node:
            async with rig(at(node), wall=lambda: time.time() - 3600) as miner:
                await miner.mine(1)

    asyncio.run(run())
    assert "clock_off" in capsys.readouterr().out


def test_no_secret_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async def run() -> None:
        with VirtualNode(login=("user", "s3cr3t")) as node:
            node.on("getblockchaininfo", WORDS["starting"], *WORDS.values())
            login = Password("user", "s3cr3t")
            async with rig(at(node, login)) as miner:
                await miner.until(lambda: len(miner.reasons()) > 1 or miner.failed())

    asyncio.run(run())
    output = capsys.readouterr()
    assert "s3cr3t" not in output.out + output.err
    assert "node_away" in output.out


# ---- check


def check(node: VirtualNode, network: Network = Network.REGTEST, also: tuple[Node, ...] = ()) -> list[str]:
    return asyncio.run(NodeSource(NodeOptions(at(node), network, PAYOUT, also), None, timeout=1).check())


def test_a_check_says_what_would_be_mined_and_for_whom() -> None:
    with VirtualNode() as node, VirtualNode() as far:
        gone = at(far)
        node.fill(2)
        with VirtualNode() as other:
            findings = check(node, also=(at(other), gone))
            text = "\n".join(findings)
            far.stop()
            assert "does not answer now" in check(node, also=(gone,))[-1]
    assert "follows regtest" in text
    assert "height 103, 2 transactions" in text
    assert PAYOUT.hex() in text
    assert "it would take a block of ours" in text
    assert findings[-2] == f"blocks also go to {at(other).name}"
    assert not node.received


@pytest.mark.parametrize(
    ("method", "fault", "kind", "says"),
    [
        ("proposal", virtual.result("bad-cb-amount"), SourceMisbehaved, "bad-cb-amount"),
        ("getblocktemplate", virtual.error(-10, "wait"), SourceMisbehaved, "still downloading"),
        ("getblocktemplate", TEMPLATES["other data"], SourceMisbehaved, "hashes to something else"),
        ("getblockchaininfo", virtual.result({"chain": "main"}), SourceMisconfigured, "main"),
        ("getblockchaininfo", virtual.result([]), SourceMisbehaved, "which chain"),
        ("getblockchaininfo", virtual.silence, SourceUnreachable, "did not answer"),
    ],
)
def test_a_check_says_what_is_wrong(method: str, fault: Fault, kind: type[SourceError], says: str) -> None:
    with VirtualNode() as node:
        node.fill(2)
        node.on(method, fault)
        with pytest.raises(kind, match=says):
            check(node)
