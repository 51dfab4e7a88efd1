"""The whole source against a node in a thread, with hashlib in the place of devices."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from miner.chain.block import Block
from miner.chain.network import Network
from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.node.assembly import process_tag
from miner.sources.node.journal import FoundBlock, Journal
from miner.sources.node.rpc import Cookie, Endpoint, Login, Password
from miner.sources.node.source import Node, NodeOptions, NodeSource
from miner.sources.node.template import TemplateReader
from miner.work.events import NewJob, SourceUp
from miner.work.job import Job
from miner.work.share import Reason
from tests.sources.node.rig import PAYOUT, Rig, rig
from tests.sources.node.search import share_of
from tests.virtual import node as virtual
from tests.virtual.node import Fault, VirtualNode


def at(node: VirtualNode, login: Login | None = None) -> Node:
    return Node(Endpoint("127.0.0.1", node.port), login or Password(*node.login))


def files(folder: Path, suffix: str) -> int:
    return len(list(folder.glob(f"*.{suffix}")))


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


# ---- faults

TRANSPORT: dict[str, Fault] = {
    "reset after the request": virtual.reset_after_request,
    "reset after doing it": virtual.reset_after_doing_it,
    "reset after the head": virtual.reset_after_head,
    "reset in the body": virtual.reset_in_body,
    "end in the body": virtual.end_in_body,
    "silence": virtual.silence,
    "silence after the head": virtual.silence_after_head,
    "drip": virtual.drip,
    "another protocol": virtual.raw(b"220 smtp.example ESMTP\r\n"),
}
WORDS: dict[str, Fault] = {
    "401": virtual.status(401),
    "403": virtual.status(403),
    "404": virtual.status(404, b"<html>"),
    "500": virtual.status(500),
    "503": virtual.status(503, b"Work queue depth exceeded"),
    "no method": virtual.error(-32601, "Method not found", 404),
    "internal error": virtual.error(-1, "internal"),
    "starting": virtual.error(-28, "Loading block index..."),
    "no JSON": virtual.body(b"<html></html>", "text/html"),
    "NaN": virtual.body(b'{"result": NaN}'),
    "a number": virtual.result(7),
    "a list": virtual.result([]),
    "an empty object": virtual.result({}),
    "an empty word": virtual.result(""),
    "true": virtual.result(True),
}
FINAL_AT_FIRST = {"401", "403", "no method"}  # before anything ever worked
TEMPLATES: dict[str, Fault] = {
    "negative bits": virtual.changed(lambda t: t.update(bits="20ffffff")),
    "target against bits": virtual.changed(lambda t: t.update(target="00" * 32)),
    "mintime after curtime": virtual.changed(lambda t: t.update(mintime=t["curtime"] + 1)),
    "huge height": virtual.changed(lambda t: t.update(height=10**300)),
    "huge flags": virtual.changed(lambda t: t.update(coinbaseaux={"flags": "00" * (4 << 20)})),
    "cut hex": virtual.changed(lambda t: t.update(previousblockhash=t["previousblockhash"][:-1])),
    "no coinbasevalue": virtual.changed(lambda t: t.pop("coinbasevalue")),
    "too heavy": virtual.changed(lambda t: t["transactions"][0].update(weight=4_000_000)),
    "the same transaction twice": virtual.changed(lambda t: t["transactions"].append(t["transactions"][0])),
    "other data": virtual.changed(lambda t: t["transactions"][0].update(data=t["transactions"][1]["data"])),
    "cut data": virtual.changed(lambda t: t["transactions"][0].update(data=t["transactions"][0]["data"][:-2])),
    "another commitment": virtual.changed(lambda t: t.update(default_witness_commitment="6a24aa21a9ed" + "00" * 32)),
}


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

    asyncio.run(run())


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
