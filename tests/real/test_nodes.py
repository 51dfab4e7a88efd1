"""The counterparts are what the miner's other tests take them for."""

from __future__ import annotations

import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.real.conftest import StartBcoin, StartBitcoind
from tests.real.mempool import fund_mempool, mine
from tests.real.nodes import Bcoin, HttpStatusError, RpcError

SEGWIT = {"rules": ["segwit"]}


def test_a_template_of_regtest_names_the_rules_that_bind_it(bitcoind: StartBitcoind) -> None:
    node = bitcoind()
    assert 290000 <= node.rpc("getnetworkinfo")["version"] < 300000
    template = node.rpc("getblocktemplate", SEGWIT)
    assert template["height"] == 1
    assert template["bits"] == "207fffff"
    assert template["rules"] == ["csv", "!segwit", "taproot"]


def test_a_template_without_rules_is_refused(bitcoind: StartBitcoind) -> None:
    with pytest.raises(RpcError) as refusal:
        bitcoind().rpc("getblocktemplate", {})
    assert refusal.value.code == -8


def test_the_cookie_is_private_and_new_at_every_start(bitcoind: StartBitcoind) -> None:
    node = bitcoind()
    assert stat.S_IMODE(node.cookie.stat().st_mode) == 0o600
    user, password = node.auth
    assert user == "__cookie__"
    node.restart()
    assert node.auth[1] != password


def test_a_user_and_password_take_the_place_of_the_cookie(bitcoind: StartBitcoind) -> None:
    node = bitcoind(auth=("miner", "p@ss/w#rd%1"))
    assert node.rpc("getblockcount") == 0
    assert not node.cookie.exists()
    node._auth = ("miner", "wrong")
    with pytest.raises(HttpStatusError) as refusal:
        node.rpc("getblockcount")
    assert refusal.value.status == 401


def test_a_private_signet_asks_for_real_work(bitcoind: StartBitcoind) -> None:
    template = bitcoind(network="signet").rpc("getblocktemplate", {"rules": ["segwit", "signet"]})
    assert template["bits"] == "1e0377ae"
    assert template["signet_challenge"] == "51"
    assert "!signet" in template["rules"]


def test_the_other_proof_of_work_shows_as_a_rule_that_binds(bitcoind: StartBitcoind) -> None:
    node = bitcoind("-testactivationheight=blake2b@5")
    mine(node, 3)
    assert "!blake2b" not in node.rpc("getblocktemplate", SEGWIT)["rules"]
    mine(node, 1)
    with pytest.raises(RpcError, match="blake2b"):
        node.rpc("getblocktemplate", SEGWIT)
    template = node.rpc("getblocktemplate", {"rules": ["segwit", "blake2b"]})
    assert "!blake2b" in template["rules"]


def test_a_mempool_can_be_filled(bitcoind: StartBitcoind) -> None:
    node = bitcoind()
    sent = fund_mempool(node, 30)
    transactions = node.rpc("getblocktemplate", SEGWIT)["transactions"]
    assert {each["txid"] for each in transactions} == set(sent)
    assert sum(each["txid"] != each["hash"] for each in transactions) == 20
    assert sum(bool(each["depends"]) for each in transactions) == 10


def test_a_killed_node_comes_back_with_what_it_had_written(bitcoind: StartBitcoind) -> None:
    node = bitcoind()
    tip = mine(node, 3)[-1]
    node.flush()
    mine(node, 1)
    node.kill()
    with pytest.raises(ConnectionRefusedError):
        node.rpc("getblockcount")
    assert node.start().rpc("getbestblockhash") == tip  # and the fourth block is lost


def test_an_invalidated_block_takes_the_template_back_at_once_and_is_refused_when_it_comes_again(
    bitcoind: StartBitcoind,
) -> None:
    node = bitcoind()
    hashes = mine(node, 5)
    raw = {block: node.rpc("getblock", block, 0) for block in hashes}
    longpoll = node.rpc("getblocktemplate", SEGWIT)["longpollid"]
    with ThreadPoolExecutor(1) as aside:
        waiting = aside.submit(node.rpc, "getblocktemplate", SEGWIT | {"longpollid": longpoll})
        node.rpc("invalidateblock", hashes[2])
        on_the_way = waiting.result(timeout=20)  # of itself it would wait for a minute
    assert on_the_way["previousblockhash"] in hashes[1:4]  # blocks are taken off one by one
    template = node.rpc("getblocktemplate", SEGWIT)
    assert (template["height"], template["previousblockhash"]) == (3, hashes[1])
    words = [node.rpc("submitblock", raw[block]) for block in hashes]
    assert words == ["duplicate"] * 2 + ["duplicate-invalid"] * 3
    node.rpc("reconsiderblock", hashes[2])
    assert node.rpc("getbestblockhash") == hashes[4]


def test_a_rival_of_the_tip_is_inconclusive_and_a_duplicate_when_it_comes_again(bitcoind: StartBitcoind) -> None:
    node, other = bitcoind(), bitcoind()
    (parent,) = mine(node, 1)
    other.rpc("submitblock", node.rpc("getblock", parent, 0))
    mine(node, 1)
    (rival,) = other.rpc("generatetoaddress", 1, other.rpc("decodescript", "52")["p2sh"])
    raw = other.rpc("getblock", rival, 0)
    assert [node.rpc("submitblock", raw) for _ in range(2)] == ["inconclusive", "duplicate"]


def test_bcoin_has_no_rules_before_segwit_and_lists_it_afterwards(bcoin: StartBcoin) -> None:
    node = bcoin()
    mine(node, Bcoin.segwit_height - 2)
    before = node.rpc("getblocktemplate", SEGWIT)
    mine(node, 1)
    after = node.rpc("getblocktemplate", SEGWIT)
    assert (before["height"], before["rules"]) == (431, [])
    assert "default_witness_commitment" in before
    assert after["height"] == 432
    assert "!segwit" in after["rules"]
    assert bytes.fromhex(after["coinbaseaux"]["flags"]) == b"mined by bcoin"


@pytest.mark.parametrize(("height", "witnesses"), [(0, 0), (432, 20)])
def test_the_mempool_of_bcoin_can_be_filled(bcoin: StartBcoin, height: int, witnesses: int) -> None:
    node = bcoin()
    mine(node, height)
    sent = fund_mempool(node, 30)
    transactions = node.rpc("getblocktemplate", SEGWIT)["transactions"]
    assert {each["txid"] for each in transactions} == set(sent)
    assert sum(each["txid"] != each["hash"] for each in transactions) == witnesses


def test_bcoin_keeps_its_chain_where_it_is_told_to(bcoin: StartBcoin) -> None:
    node = bcoin(memory=False)
    tip = mine(node, 3)[-1]
    assert node.restart().rpc("getbestblockhash") == tip
    node.kill()
    assert node.start().rpc("getbestblockhash") == tip


def test_bcoin_takes_no_other_key(bcoin: StartBcoin) -> None:
    node = bcoin()
    node.api_key = "wrong"
    with pytest.raises(HttpStatusError) as refusal:
        node.rpc("getblockcount")
    assert refusal.value.status == 401


def test_nodes_listen_on_nothing_but_loopback(bitcoind: StartBitcoind, bcoin: StartBcoin) -> None:
    nodes = [bitcoind(), bcoin()]
    for node in nodes:
        assert _listeners(node.pid) == {("127.0.0.1", node.port)}


def _listeners(pid: int) -> set[tuple[str, int]]:
    """Addresses on which a process accepts connections, as the kernel sees it; "other" for IPv6."""
    process = Path("/proc", str(pid))
    links = (str(entry.readlink()) for entry in (process / "fd").iterdir())
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (process / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                address, port = fields[1].split(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if table == "tcp" else "other"
                found.add((host, int(port, 16)))
    return found
