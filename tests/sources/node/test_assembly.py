from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from miner.chain.block import Block
from miner.chain.coinbase import Coinbase
from miner.chain.header import Header
from miner.chain.network import Network
from miner.chain.target import Target
from miner.chain.transaction import Transaction
from miner.sources.consensus import Judge
from miner.sources.node.assembly import (
    EXTRANONCE_SIZE,
    TAG,
    Assembly,
    ShareUnsound,
    assemble,
    process_tag,
    solved_block,
)
from miner.sources.node.template import Template, TemplateError, TemplateReader
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share
from tests.sources.node.search import share_of
from tests.sources.node.templates import bcoin, core, transaction
from tests.virtual.node import VirtualNode

PAYOUT = bytes.fromhex("00146f58bac9506f9bfb821d62e69330410bb56f0085")


@pytest.fixture
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


def read(answer: object) -> Template:
    return TemplateReader(Network.REGTEST).read(answer)


def job_of(assembly: Assembly) -> Job:
    return assembly.job("node", 1, "key", now=time.monotonic())


@pytest.mark.golden("gbt")
def test_the_block_that_a_node_accepted_is_built_again_to_the_byte(vector: dict[str, Any]) -> None:
    template = read({"rules": ["!segwit"]} | vector["template"])
    coinbase = bytes.fromhex(vector["coinbase_stripped"])
    header = Header.unpack(bytes.fromhex(vector["header_hex"]))
    branch = assemble(template, PAYOUT, b"").branch
    assert [each.hex() for each in branch] == vector["merkle_branch"]
    recorded = Assembly(template, Coinbase(coinbase[:50], coinbase[58:], EXTRANONCE_SIZE, segwit=True), branch)
    share = _share(job_of(recorded), coinbase[50:58], header)
    assert solved_block(share).hex() == vector["block_hex"]


@pytest.mark.golden("gbt", where=lambda entry: entry["id"] == "regtest-1-constructed")
def test_a_coinbase_pays_what_the_constructed_one_pays(vector: dict[str, Any]) -> None:
    ours = Transaction.parse(assemble(read(vector["template"]), PAYOUT, b"tag").coinbase.with_witness(bytes(8)))
    theirs = Transaction.parse(bytes.fromhex(vector["coinbase_with_witness"]))
    assert ours.outputs == theirs.outputs
    assert (ours.locktime, ours.inputs[0].sequence) == (theirs.locktime, theirs.inputs[0].sequence)


def test_blocks_are_what_consensus_takes(judge: Judge) -> None:
    with VirtualNode() as node:
        node.fill(7)
        for block in node.blocks:
            assert judge.submit(block).accepted
        for _ in range(5):
            job = job_of(assemble(read(node.template()), PAYOUT, process_tag()))
            block = solved_block(share_of(job))
            assert judge.submit(block).accepted
            assert node.answer("submitblock", [block.hex()]) is None
    parsed = Block.parse(node.blocks[107])
    assert len(parsed.transactions) == 8
    assert parsed.transactions[0].outputs[0].script == PAYOUT


def test_a_chain_without_segwit_gets_a_coinbase_without_witness() -> None:
    job = job_of(assemble(read(bcoin(transaction(1), segwit=False)), PAYOUT, TAG))
    parsed = Block.parse(solved_block(share_of(job)))
    coinbase = parsed.transactions[0]
    assert not coinbase.has_witness
    assert [output.script for output in coinbase.outputs] == [PAYOUT]
    parsed.check()


def test_the_coinbase_carries_height_flags_extranonce_and_tag() -> None:
    job = job_of(assemble(read(bcoin(segwit=True)), PAYOUT, TAG + bytes(8)))
    script = Block.parse(solved_block(share_of(job, b"\xaa" * 8))).transactions[0].inputs[0].script_sig
    assert script == b"\x01\x65" + b"\x0emined by bcoin" + b"\x08" + b"\xaa" * 8 + b"\x10" + TAG + bytes(8)


def test_the_longest_flags_leave_room_for_the_whole_tag() -> None:
    answer = core(coinbaseaux={"flags": "ab" * 60}, height=499_999_999)
    coinbase = assemble(read(answer), PAYOUT, TAG + b"\xee" * 8).coinbase
    assert TAG + b"\xee" * 8 in coinbase.suffix


def test_two_processes_never_share_a_header() -> None:
    template = read(core())
    mine, theirs = (assemble(template, PAYOUT, process_tag()) for _ in range(2))
    assert mine.coinbase != theirs.coinbase
    assert share_of(job_of(mine)).hash != share_of(job_of(theirs)).hash
    assert len(process_tag()) == len(TAG) + 8


def test_versions_may_be_rolled(judge: Judge) -> None:
    with VirtualNode() as node:
        job = job_of(assemble(read(node.template()), PAYOUT, TAG))
        assert judge.submit(solved_block(share_of(job, version=job.version | job.version_mask))).accepted


def test_a_job_says_what_devices_need() -> None:
    template = read(core(transaction(1), transaction(2)))
    job = assemble(template, PAYOUT, TAG).job("node", 3, "key", now=5.0)
    assert isinstance(job.body, CoinbaseParts)
    assert (job.source, job.session, job.key, job.arrived, job.height) == ("node", 3, "key", 5.0, 101)
    assert job.share_target == job.network_target == Target.from_nbits(0x207FFFFF).value
    assert (job.ntime, job.ntime_limit) == (template.curtime, template.ntime_limit)
    assert job.body.extranonce2_size == 8


def test_without_a_commitment_from_the_node_ours_is_used() -> None:
    answer = core(transaction(1, segwit=True))
    assembly = assemble(read(answer), PAYOUT, TAG)
    assert assembly.coinbase.segwit
    Block.parse(solved_block(share_of(job_of(assembly)))).check()


def test_a_proposal_is_a_whole_block_but_for_its_work() -> None:
    parsed = Block.parse(assemble(read(core(transaction(1, segwit=True))), PAYOUT, TAG).proposal())
    parsed.check()


@pytest.mark.parametrize(
    "fault",
    [
        {"nonce": 1},
        {"ntime": 1},
        {"version": 1},
        {"extranonce2": b"\x55" * 8},
        {"hash": -1},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_the_second_computation_catches_a_share_that_was_spoilt_on_its_way(fault: dict[str, Any]) -> None:
    share = share_of(job_of(assemble(read(core(transaction(1))), PAYOUT, TAG)))
    changes = {
        name: change if isinstance(change, bytes) else getattr(share, name) + change for name, change in fault.items()
    }
    with pytest.raises(ShareUnsound, match="hashes to"):
        solved_block(replace(share, **changes))


def test_the_second_computation_does_not_use_the_branch() -> None:
    assembly = assemble(read(core(transaction(1), transaction(2))), PAYOUT, TAG)
    wrong = replace(assembly, branch=tuple(bytes(32) for _ in assembly.branch))
    with pytest.raises(ShareUnsound, match="merkle root is not that of its transactions"):
        solved_block(share_of(job_of(wrong)))


def test_a_share_that_misses_the_target_is_not_sent() -> None:
    share = share_of(job_of(assemble(read(core()), PAYOUT, TAG)), meets=False)
    with pytest.raises(ShareUnsound, match="does not meet"):
        solved_block(share)


def test_a_payout_that_is_no_payout_does_not_fit_the_template() -> None:
    with pytest.raises(TemplateError):
        assemble(read(core()), bytes.fromhex("6a24aa21a9ed") + bytes(32), TAG)


def _share(job: Job, extranonce: bytes, header: Header) -> Share:
    return Share(
        id=1,
        job=job,
        device="test",
        extranonce2=extranonce,
        nonce=header.nonce,
        version=header.version,
        ntime=header.ntime,
        hash=int.from_bytes(header.hash, "little"),
        block=True,
        stale=False,
        found_at=0.0,
    )
