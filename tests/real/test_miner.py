"""The command against real nodes: what an operator who mines on a node of their own lives through."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miner.chain.address import parse_address
from miner.chain.network import Network
from miner.sources.consensus import Judge
from tests.real.conftest import StartBcoin, StartBitcoind
from tests.real.mempool import fund_mempool, mine
from tests.real.nodes import Bitcoind, Node, wait_until
from tests.running import Home, Miner, home, summary_of

REGTEST_ADDRESSES = {
    "p2pkh": "mfcSEPR8EkJrpX91YkTJ9iscdAzppJrG9j",
    "p2sh": "2N2JD6wb56AfK4tfmM6PwdVmoYk2dCKf4Br",
    "p2wpkh": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    "p2wsh": "bcrt1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qzf4jry",
    "p2tr": "bcrt1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqc8gma6",
}
SIGNET_ADDRESS = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"

OpenHome = Callable[..., Home]


@pytest.fixture
def open_home(tmp_path: Path, kernels: Path) -> Iterator[OpenHome]:
    with ExitStack() as homes:
        yield lambda state="state": homes.enter_context(home(tmp_path, kernels, state))


def on(node: Node, address: str, *more: str, network: str = "regtest") -> list[str]:
    """The arguments that point a miner at a node; with the cookie where the node has one."""
    arguments = ["--pool", f"rpc+http://127.0.0.1:{node.port}", "--address", address, "--network", network, *more]
    return [*arguments, "--cookie-file", str(node.cookie)] if isinstance(node, Bitcoind) else arguments


def key_of(node: Node) -> dict[str, str]:
    """The login of a node without a cookie, kept off the command line."""
    user, password = node.auth
    return {} if isinstance(node, Bitcoind) else {"MINER_USER": user, "MINER_PASSWORD": password}


def height(node: Node) -> int:
    return int(node.rpc("getblockcount"))


def blocks(node: Node, first: int = 1) -> list[bytes]:
    hashes = [node.rpc("getblockhash", number) for number in range(first, height(node) + 1)]
    return [bytes.fromhex(node.rpc("getblock", each, 0 if isinstance(node, Bitcoind) else False)) for each in hashes]


def judged(node: Node) -> None:
    """Bitcoin Core's own engine takes the node's whole chain."""
    with Judge(Network.REGTEST) as judge:
        for number, block in enumerate(blocks(node), 1):
            assert judge.submit(block).accepted, f"block {number}"


def mined(miner: Miner) -> None:
    assert miner.ended() == 0, miner.output()


@pytest.mark.parametrize("kind", REGTEST_ADDRESSES)
def test_twenty_blocks_on_bitcoind_pay_every_type_of_address(
    bitcoind: StartBitcoind, open_home: OpenHome, tmp_path: Path, kind: str
) -> None:
    node, target, address = bitcoind(), tmp_path / "s.json", REGTEST_ADDRESSES[kind]
    waiting = fund_mempool(node, 12)
    before = height(node)
    mined(open_home().start(*on(node, address, "--blocks", "20", "--summary", str(target))))
    assert height(node) == before + 20
    assert summary_of(target)["blocks"] == {"accepted": 20, "rejected": 0}
    script = parse_address(address, Network.REGTEST).script_pubkey.hex()
    taken = []
    for number in range(before + 1, before + 21):
        block = node.rpc("getblock", node.rpc("getblockhash", number), 2)
        assert block["tx"][0]["vout"][0]["scriptPubKey"]["hex"] == script
        taken += [transaction["txid"] for transaction in block["tx"][1:]]
    assert sorted(taken) == sorted(waiting)
    judged(node)


@pytest.mark.parametrize("segwit", [False, True], ids=["before segwit", "with segwit"])
def test_twenty_blocks_on_bcoin(bcoin: StartBcoin, open_home: OpenHome, tmp_path: Path, *, segwit: bool) -> None:
    node, target = bcoin(), tmp_path / "s.json"
    if segwit:
        mine(node, 440)
    fund_mempool(node, 6)
    assert node.segwit == segwit
    before = height(node)
    arguments = on(node, REGTEST_ADDRESSES["p2pkh"], "--blocks", "20", "--summary", str(target))
    mined(open_home().start(*arguments, **key_of(node)))
    assert height(node) == before + 20
    assert summary_of(target)["blocks"] == {"accepted": 20, "rejected": 0}
    assert node.rpc("getrawmempool") == []


def test_twenty_blocks_of_real_work_through_a_restart_that_changes_the_cookie(
    bitcoind: StartBitcoind, open_home: OpenHome, tmp_path: Path
) -> None:
    node, target = bitcoind(network="signet"), tmp_path / "s.json"
    miner = open_home().start(*on(node, SIGNET_ADDRESS, "--blocks", "20", "--summary", str(target), network="signet"))
    miner.until("block_accepted", 10)
    cookie = node.cookie.read_text()
    node.flush()  # what is not flushed is lost with the process, and blocks with it
    node.kill()
    miner.until("source_down")
    node.restart()
    assert node.cookie.read_text() != cookie
    mined(miner)
    assert summary_of(target)["blocks"]["accepted"] >= 20
    assert summary_of(target)["blocks"]["rejected"] == 0
    assert miner.output().count("source_up") >= 2


def test_a_block_that_was_never_answered_is_handed_in_by_the_next_start(
    bitcoind: StartBitcoind, open_home: OpenHome
) -> None:
    node, operator = bitcoind(network="signet"), open_home()
    arguments = on(node, SIGNET_ADDRESS, network="signet")
    first = operator.start(*arguments)
    first.until("mining_began")
    node.stop()  # in order: the tip that the miner works on is still there after the restart
    first.until("block_not_delivered")
    first.signal(signal.SIGKILL)
    first.ended()
    (waiting,) = (operator.state / "blocks").glob("*.block")
    node.restart()
    block = waiting.stem.rpartition("-")[2]
    assert block not in chain_of(node)
    second = operator.start(*arguments)
    second.until("block_resubmitted")
    assert wait_until(lambda: block in chain_of(node), 60), second.output()
    assert wait_until(lambda: not waiting.exists(), 30)


def chain_of(node: Node) -> set[str]:
    return {node.rpc("getblockhash", number) for number in range(1, height(node) + 1)}


def test_a_found_block_is_handed_to_further_nodes_as_well(bitcoind: StartBitcoind, open_home: OpenHome) -> None:
    first, second = bitcoind(), bitcoind(auth=("me", "p@ss/word"))
    further = f"rpc+http://me:p%40ss%2Fword@127.0.0.1:{second.port}"
    arguments = on(first, REGTEST_ADDRESSES["p2wpkh"], "--blocks", "5")
    mined(open_home().start(*arguments, MINER_ALSO_SUBMIT=further))
    assert height(first) == height(second) == 5
    assert blocks(first) == blocks(second)


def test_two_miners_on_one_node_never_share_a_header(bitcoind: StartBitcoind, open_home: OpenHome) -> None:
    node = bitcoind()
    before = height(node)
    homes = [open_home("one"), open_home("two")]
    miners = [each.start(*on(node, REGTEST_ADDRESSES["p2wpkh"], "--threads", "1")) for each in homes]
    deadline = time.monotonic() + 120
    while height(node) < before + 100:
        assert time.monotonic() < deadline, miners[0].output()
        time.sleep(0.1)
    for miner in miners:
        miner.signal(signal.SIGINT)
        assert miner.ended() == 0, miner.output()
    found = [{path.stem for path in (each.state / "blocks").iterdir()} for each in homes]
    assert all(found)
    assert not found[0] & found[1]
    tags = {raw[80:].split(b"/angara/", 1)[1][:8] for raw in blocks(node, before + 1)}
    assert len(tags) == 2
    judged(node)


def test_a_rule_that_is_not_known_here_stops_the_miner_with_its_name(
    bitcoind: StartBitcoind, open_home: OpenHome
) -> None:
    node = bitcoind("-testactivationheight=blake2b@5")
    miner = open_home().start(*on(node, REGTEST_ADDRESSES["p2wpkh"], "--blocks", "20"))
    assert miner.ended() == 1, miner.output()
    assert height(node) == 4
    assert "blake2b" in miner.output()
    assert "Traceback" not in miner.output()


def test_check_says_whether_the_node_would_take_a_block_of_ours(bitcoind: StartBitcoind, open_home: OpenHome) -> None:
    node, operator = bitcoind(), open_home()
    good = operator.start("check", *on(node, REGTEST_ADDRESSES["p2tr"]))
    assert good.ended() == 0, good.output()
    assert "would take a block of ours" in good.output()
    node.kill()
    away = operator.start("check", *on(node, REGTEST_ADDRESSES["p2tr"]))
    assert away.ended() == 1
    assert "Traceback" not in away.output()


def test_a_wrong_password_is_said_at_once(bitcoind: StartBitcoind, open_home: OpenHome) -> None:
    node = bitcoind(auth=("me", "right"))
    arguments = ["--pool", f"rpc+http://127.0.0.1:{node.port}", "--address", REGTEST_ADDRESSES["p2wpkh"]]
    miner = open_home().start(*arguments, MINER_USER="me", MINER_PASSWORD="wrong")
    assert miner.ended() == 1, miner.output()
    assert "refuses the user and password" in miner.output()
    assert "wrong" not in miner.output().replace("wrong password", "")


def test_an_address_of_another_network_is_refused(bitcoind: StartBitcoind, open_home: OpenHome) -> None:
    node = bitcoind()
    address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    arguments = ["--pool", f"rpc+http://127.0.0.1:{node.port}", "--cookie-file", str(node.cookie)]
    miner = open_home().start(*arguments, "--address", address)
    assert miner.ended() == 1, miner.output()
    assert "mainnet" in miner.output()
    assert height(node) == 0


def accepted(miner: Miner) -> set[str]:
    """The blocks that the node has accepted, or had already, by hash."""
    answers = (line for line in miner.output().splitlines() if " block_answered " in line)
    words = (dict(word.split("=", 1) for word in line.split() if "=" in word) for line in answers)
    return {each["block"] for each in words if each["answer"] in ("accepted", "duplicate")}


def is_ours(node: Node, block: str) -> bool:
    return b"/angara/" in bytes.fromhex(node.rpc("getblock", block, 0))


def grows(node: Node, blocks: int, miner: Miner) -> None:
    """So many more blocks within the minute that a template may last."""
    enough = height(node) + blocks
    assert wait_until(lambda: height(node) >= enough, 60), miner.output()


def test_five_blocks_are_invalidated_and_reconsidered_while_the_miner_goes_on(
    bitcoind: StartBitcoind, open_home: OpenHome
) -> None:
    node, operator = bitcoind(network="signet"), open_home()
    miner = operator.start(*on(node, SIGNET_ADDRESS, network="signet"))
    grows(node, 8, miner)
    fork = height(node) - 4
    first = node.rpc("getblockhash", fork)
    old_tip = node.rpc("getbestblockhash")
    node.rpc("invalidateblock", first)
    assert height(node) == fork - 1
    for _ in range(5):  # again and again on the same parent, each time a block of ours that was accepted
        grows(node, 1, miner)
        again = node.rpc("getblockhash", fork)
        assert again != first and is_ours(node, again)
        node.rpc("invalidateblock", again)
        assert height(node) < fork
    grows(node, 2, miner)
    node.rpc("reconsiderblock", first)
    assert wait_until(lambda: old_tip in chain_of(node), 60), miner.output()
    grows(node, 3, miner)
    miner.signal(signal.SIGINT)
    assert miner.ended() == 0, miner.output()
    ours = accepted(miner)
    assert len(ours) >= 8 + 5 + 2 + 3
    assert all(is_ours(node, block) for block in ours)
    assert chain_of(node) <= ours
    assert not list((operator.state / "blocks").glob("*.block"))
    assert miner.output().count("block_displaced") >= 5 + 5
    assert miner.output().count("block_restored") >= 5
    assert "block_lost" not in miner.output() and "Traceback" not in miner.output()


def test_a_chain_where_every_other_hash_wins_is_mined_on_after_blocks_were_invalidated(
    bitcoind: StartBitcoind, open_home: OpenHome
) -> None:
    node = bitcoind()
    miner = open_home().start(*on(node, REGTEST_ADDRESSES["p2wpkh"], "--threads", "1"))
    for _ in range(5):
        grows(node, 10, miner)
        node.rpc("invalidateblock", node.rpc("getblockhash", height(node) - 4))
        grows(node, 10, miner)
    miner.signal(signal.SIGINT)
    assert miner.ended() == 0, miner.output()
    said = miner.output()
    assert "block_withheld" in said and said.count("block_withheld") < 50  # of thousands
    judged(node)
