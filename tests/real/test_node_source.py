"""The node source against real nodes; every chain that comes of it is put to Bitcoin Core's engine as well."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from miner.chain.address import payout_script
from miner.chain.block import Block
from miner.chain.errors import AddressError
from miner.chain.network import Network
from miner.sources.consensus import Judge
from miner.sources.node.journal import Journal
from miner.sources.node.rpc import Cookie, Endpoint, Login, Password
from miner.sources.node.source import Node as NodeAddress
from miner.sources.node.source import NodeOptions, NodeSource
from tests.real import search
from tests.real.conftest import StartBcoin, StartBitcoind
from tests.real.mempool import fund_mempool, mine
from tests.real.nodes import Bcoin, Bitcoind, Node
from tests.sources.node.rig import PAYOUT, rig
from tests.sources.node.solo import solo

VECTORS = Path(__file__).parents[1] / "vectors" / "protocol.json"
KINDS = ("p2pkh", "p2sh", "p2wpkh", "p2wsh", "p2tr")


def at(node: Node) -> NodeAddress:
    login: Login = Cookie(node.cookie) if isinstance(node, Bitcoind) and not node._auth else Password(*node.auth)
    return NodeAddress(Endpoint("127.0.0.1", node.port), login)


def address_of(kind: str) -> str:
    """The first of this kind that somebody could spend from."""
    known = json.loads(VECTORS.read_text("utf-8"))["addresses_valid"]
    for each in known:
        with contextlib.suppress(AddressError):
            if (each["type"], each["network"]) == (kind, "regtest") and payout_script(each["address"], Network.REGTEST):
                return str(each["address"])
    raise AssertionError(kind)


def chain_of(node: Node) -> list[bytes]:
    """Every block above genesis."""
    heights = range(1, node.rpc("getblockcount") + 1)
    return [bytes.fromhex(node.rpc("getblock", node.rpc("getblockhash", height), 0)) for height in heights]


def judged(blocks: list[bytes]) -> None:
    """A regtest chain, put to Bitcoin Core's engine."""
    with Judge(Network.REGTEST) as judge:
        for height, block in enumerate(blocks, 1):
            ruling = judge.submit(block)
            assert ruling.accepted, f"height {height}: {ruling}"


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_blocks_for_every_kind_of_address_with_transactions_waiting(
    bitcoind: StartBitcoind, tmp_path: Path, kind: str
) -> None:
    node, address = bitcoind(), address_of(kind)
    sent = fund_mempool(node, 30)
    before = node.rpc("getblockcount")

    async def run() -> None:
        async with rig(at(node), Journal(tmp_path / "blocks"), payout=payout_script(address, Network.REGTEST)) as miner:
            await miner.mine(20)
            assert not miner.reasons()

    asyncio.run(run())
    assert node.rpc("getblockcount") == before + 20
    first = node.rpc("getblock", node.rpc("getblockhash", before + 1), 2)
    assert {each["txid"] for each in first["tx"][1:]} == set(sent)
    assert first["tx"][0]["vout"][0]["scriptPubKey"]["address"] == address
    judged(chain_of(node))


@pytest.mark.parametrize("start", [0, 432])
def test_twenty_blocks_on_bcoin_before_and_after_segwit(bcoin: StartBcoin, start: int) -> None:
    node = bcoin()
    mine(node, start)
    sent = fund_mempool(node, 30)
    before = node.rpc("getblockcount")

    async def run() -> None:
        async with rig(at(node)) as miner:
            await miner.mine(20)
            assert not miner.reasons()

    asyncio.run(run())
    assert node.rpc("getblockcount") == before + 20
    blocks = chain_of(node)
    coinbase, *others = Block.parse(blocks[before]).transactions
    assert {each.txid[::-1].hex() for each in others} == set(sent)
    assert coinbase.has_witness == (start >= Bcoin.segwit_height)
    judged(blocks)


def test_mining_goes_on_while_segwit_becomes_active(bcoin: StartBcoin) -> None:
    node = bcoin()
    mine(node, Bcoin.segwit_height - 5)

    async def run() -> None:
        async with rig(at(node)) as miner:
            await miner.mine(10)

    asyncio.run(run())
    witnesses = [Block.parse(block).transactions[0].has_witness for block in chain_of(node)[-10:]]
    assert witnesses == [False] * 4 + [True] * 6
    judged(chain_of(node))


def test_the_miner_stops_in_front_of_a_rule_that_it_does_not_know(bitcoind: StartBitcoind) -> None:
    node = bitcoind("-testactivationheight=blake2b@5")

    async def run() -> str:
        async with rig(at(node)) as miner:
            await miner.mine(3)
            await miner.job()
            miner.submit(miner.jobs[-1])
            await miner.until(miner.failed)
            return miner.failed() or ""

    reason = asyncio.run(run())
    assert "blake2b" in reason and "does not know" in reason
    assert node.rpc("getblockcount") == 4
    judged(chain_of(node))


def test_blocks_of_others_come_by_longpoll(bitcoind: StartBitcoind) -> None:
    node = bitcoind()

    async def run() -> None:
        async with rig(at(node), haste=1) as miner:  # a refresh would come after a minute
            await miner.job()
            await asyncio.to_thread(mine, node, 1)
            await miner.until(lambda: miner.jobs[-1].height == 2)

    asyncio.run(run())


def test_a_password_of_special_characters_and_a_second_node(bitcoind: StartBitcoind) -> None:
    node, far = bitcoind(auth=("miner", "p@ss/w#rd%1?x")), bitcoind()

    async def run() -> None:
        async with rig(at(node), also=(at(far),)) as miner:
            await miner.mine(5)
            await miner.until(lambda: far.rpc("getblockcount") == 5)

    asyncio.run(run())
    assert far.rpc("getbestblockhash") == node.rpc("getbestblockhash")


def test_two_miners_on_one_node_never_share_a_header(bitcoind: StartBitcoind) -> None:
    node = bitcoind()
    hashes: list[int] = []

    async def run() -> None:
        async with rig(at(node)) as one, rig(at(node)) as two:
            for _ in range(10):
                await asyncio.gather(one.mine(1), two.mine(1))
            hashes.extend(share.hash for share in (*one.shares, *two.shares))

    asyncio.run(run())
    assert len(set(hashes)) == len(hashes) >= 20
    judged(chain_of(node))


def test_blocks_that_a_killed_node_had_not_written_are_handed_in_again(bitcoind: StartBitcoind, tmp_path: Path) -> None:
    node = bitcoind()

    async def run() -> None:
        async with rig(at(node), Journal(tmp_path / "blocks")) as miner:
            await miner.mine(2)
            node.flush()
            await miner.mine(3)
            tip = node.rpc("getbestblockhash")
            await asyncio.to_thread(node.kill)
            await miner.until(miner.reasons)
            await asyncio.to_thread(node.start)
            await miner.until(lambda: node.rpc("getblockcount") >= 5)
            assert node.rpc("getblockhash", 5) == tip
            await miner.mine(2)

    asyncio.run(run())
    assert node.rpc("getblockcount") == 7
    judged(chain_of(node))


def test_a_node_that_invalidates_blocks_of_ours_gets_others_in_their_place(
    bitcoind: StartBitcoind, tmp_path: Path
) -> None:
    node = bitcoind()

    async def run() -> None:
        async with solo(at(node), Journal(tmp_path / "blocks"), timeout=5) as miner:
            await miner.mine(5)
            for _ in range(3):
                await asyncio.to_thread(node.rpc, "invalidateblock", node.rpc("getblockhash", 3))
                await miner.back_to(2)
                await miner.mine(3)
            assert not miner.dropped

    asyncio.run(run())
    assert node.rpc("getblockcount") == 5
    judged(chain_of(node))


def test_real_work_on_a_private_signet_through_a_kill_and_a_new_cookie(bitcoind: StartBitcoind, tmp_path: Path) -> None:
    node = bitcoind(network="signet")
    cookie = node.auth

    async def run() -> None:
        async with rig(
            at(node),
            Journal(tmp_path / "blocks"),
            network=Network.SIGNET,
            haste=1,
            search=search.share_of,
            patience_s=120,
        ) as miner:
            await miner.mine(10)
            await asyncio.to_thread(node.kill)
            await asyncio.to_thread(node.start)
            await miner.mine(10)
            await miner.until(lambda: node.rpc("getblockcount") >= 20)

    asyncio.run(run())
    assert node.auth != cookie
    assert node.rpc("getblockcount") == 20  # what the kill took was handed in again
    for block in chain_of(node):
        parsed = Block.parse(block)
        parsed.check()
        assert parsed.header.nbits == Network.SIGNET.pow_limit_nbits
        assert Network.SIGNET.pow_limit.met_by(parsed.header.hash)
        assert parsed.transactions[0].outputs[0].script == PAYOUT


def test_what_a_check_says_of_a_real_node(bitcoind: StartBitcoind, bcoin: StartBcoin) -> None:
    for node in (bitcoind(), bcoin()):
        source = NodeSource(NodeOptions(at(node), Network.REGTEST, PAYOUT), None)
        assert asyncio.run(source.check())[-1] == "it would take a block of ours"


def test_a_proposal_that_would_lose_is_refused_by_a_real_node(
    bitcoind: StartBitcoind, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bitcoind()
    source = NodeSource(NodeOptions(at(node), Network.REGTEST, PAYOUT), None)
    fetched = source._fetched

    def greedy(ask: Any, answer: dict[str, Any]) -> Any:
        return fetched(ask, answer | {"coinbasevalue": answer["coinbasevalue"] + 1})

    monkeypatch.setattr(source, "_fetched", greedy)
    with pytest.raises(Exception, match="bad-cb-amount"):
        asyncio.run(source.check())
