from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.coinbase import parse_coinbase
from miner.chain.errors import ChainError
from miner.chain.target import DIFFICULTY_ONE
from miner.sources.stratum import messages
from miner.sources.stratum.coinbase import read_coinbase
from miner.sources.stratum.errors import BadJob, OddCoinbase, StratumMisbehaved
from miner.sources.stratum.job import NTIME_AHEAD_S, Circumstances, JobMaker, Made
from miner.sources.stratum.lines import decode
from miner.sources.stratum.messages import Notify
from miner.work.job import CoinbaseParts
from tests.sources.stratum.talk import COINBASE1, COINBASE2, OTHER_HASH, PAID, WALL, notify

UNDER = Circumstances(bytes.fromhex("08000002"), 4, 2.0, 0x1FFFE000)


def announced(*args: Any, **kwargs: Any) -> Notify:
    message = messages.read(decode(notify(*args, **kwargs)))
    assert isinstance(message, Notify)
    return message


def made(maker: JobMaker, message: Notify, under: Circumstances = UNDER, **more: Any) -> Made:
    result = maker.make(message, under, 7.0, **more)
    assert result is not None
    return result


def test_a_job_carries_what_was_in_force() -> None:
    job = made(JobMaker("pool", 3), announced("a", version=0x30000000)).job
    assert (job.source, job.session, job.key, job.height, job.arrived) == ("pool", 3, "a", 2442185, 7.0)
    assert job.share_target == DIFFICULTY_ONE // 2
    assert job.version_mask == 0x0FFFE000  # a bit that the job sets itself is not rolled
    assert job.version & job.version_mask == 0
    assert (job.ntime, job.ntime_limit) == (WALL, WALL + NTIME_AHEAD_S)
    assert isinstance(job.body, CoinbaseParts)
    assert job.body.prefix == bytes.fromhex(COINBASE1 + "08000002")


def test_the_easing_makes_the_local_target_harder() -> None:
    assert made(JobMaker("pool", 1), announced(), easing=4).job.share_target == DIFFICULTY_ONE // 8


def test_a_repetition_is_no_job() -> None:
    maker = JobMaker("pool", 1)
    made(maker, announced())
    assert maker.make(announced(), UNDER, 8.0) is None


@pytest.mark.parametrize(
    ("message", "under", "replaces"),
    [
        (announced("2"), UNDER, False),
        (announced("2", clean=True), UNDER, True),
        (announced("2", prev_hash=OTHER_HASH), UNDER, True),
        (announced("1", ntime=f"{WALL + 1:08x}"), UNDER, True),
        (announced("1"), replace(UNDER, extranonce1=b"\1"), True),
        (announced("2"), replace(UNDER, extranonce2_size=5), True),
        (announced("1"), replace(UNDER, difficulty=4.0), False),
        (announced("1"), replace(UNDER, mask=0), False),
    ],
    ids=["update", "clean", "tip", "content", "extranonce1", "size", "difficulty", "mask"],
)
def test_what_kills_older_work_and_what_does_not(message: Notify, under: Circumstances, *, replaces: bool) -> None:
    maker = JobMaker("pool", 1)
    made(maker, announced("1"))
    if under.extranonce2_size == 5 or len(under.extranonce1) == 1:
        size = len(under.extranonce1) + under.extranonce2_size
        script = f"{17 + size:02x}"
        message = replace(message, coinbase1_hex=COINBASE1.replace("ffffffff19", f"ffffffff{script}"))
    assert made(maker, message, under).replace is replaces


def test_the_newest_job_again_under_a_smaller_mask_replaces_and_under_a_wider_one_does_not() -> None:
    maker = JobMaker("pool", 1)
    assert maker.again(0, 0.0) is None
    made(maker, announced(version=0x30000000))
    smaller = maker.again(0x0000E000, 8.0)
    assert smaller is not None and smaller.replace and smaller.job.version_mask == 0xE000
    wider = maker.again(0x1000E000, 9.0)  # the added bit is one that the job sets
    assert wider is not None and not wider.replace and wider.job.version_mask == 0xE000


@pytest.mark.parametrize(
    "changes",
    [
        {"nbits": "00000000"},
        {"nbits": "ff123456"},
        {"prev_hash": "00" * 32},
        {"coinbase2": "00" * 99_950},
    ],
    ids=lambda changes: next(f"{key}-{len(value)}" for key, value in changes.items()),
)
def test_what_cannot_be_mined_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(BadJob):
        JobMaker("pool", 1).make(announced(**changes), UNDER, 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"coinbase1": ""},
        {"coinbase2": ""},
        {"coinbase1": "", "coinbase2": ""},
        {"coinbase1": COINBASE1 + "00"},
        {"coinbase1": COINBASE1.replace("ffffffff19", "ffffffff65")},
        {"coinbase1": COINBASE1.replace("00000000ffffffff", "00000001ffffffff", 1)},
        {"coinbase1": COINBASE1[:-16]},
        {"coinbase1": COINBASE1[:8] + "0001" + COINBASE1[8:]},
    ],
    ids=["no-head", "no-tail", "nothing", "long", "script", "spends", "short", "witness"],
)
def test_a_job_is_mined_whatever_its_coinbase_looks_like(changes: dict[str, Any]) -> None:
    result = made(JobMaker("pool", 1), announced(**changes))
    assert result.coinbase.oddity
    assert not result.coinbase.pays(PAID)
    assert result.job.height is None
    assert isinstance(result.job.body, CoinbaseParts)
    halves = [changes.get("coinbase1", COINBASE1), "08000002" + changes.get("coinbase2", COINBASE2)]
    assert result.job.body.prefix + result.job.body.suffix == bytes.fromhex("".join(halves))


@pytest.mark.golden("stratum_v1_shares", where=lambda vector: vector["id"] == "mainnet-block-879008")
def test_an_extranonce_in_what_the_coinbase_spends_is_mined_and_odd(vector: dict[str, Any]) -> None:
    """Recast from a block: its extranonce2 is part of what the coinbase spends, so that only one value is valid."""
    message = messages.read({"method": "mining.notify", "params": vector["notify_params"]})
    assert isinstance(message, Notify)
    assert made(JobMaker("pool", 1), message, Circumstances(bytes(4), 8, 1.0, 0)).coinbase.oddity


@pytest.mark.golden("stratum_v1_merkle", where=lambda vector: "notify_params" in vector)
def test_the_root_of_a_recorded_job(vector: dict[str, Any]) -> None:
    message = messages.read({"method": "mining.notify", "params": vector["notify_params"]})
    assert isinstance(message, Notify)
    extranonce2 = bytes.fromhex(vector["extranonce2"])
    under = Circumstances(bytes.fromhex(vector["extranonce1"]), len(extranonce2), 1.0, 0)
    body = made(JobMaker("pool", 1), message, under).job.body
    assert isinstance(body, CoinbaseParts)
    assert body.merkle_root(extranonce2).hex() == vector["merkle_root_header_bytes"]


def test_who_is_paid() -> None:
    coinbase = made(JobMaker("pool", 1), announced()).coinbase
    assert coinbase.pays(PAID)
    assert not coinbase.pays(PAID[:-1] + b"\0")
    assert not dataclasses.replace(coinbase, outputs=((0, PAID),)).pays(PAID)


@pytest.mark.golden("stratum_v1_shares")
def test_a_coinbase_is_read_as_the_chain_reads_it(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["coinbase_hex"])
    expected = parse_coinbase(raw)
    got = read_coinbase(raw)
    assert got.script == expected.inputs[0].script_sig
    assert got.outputs == tuple((output.value, output.script) for output in expected.outputs)


@given(st.data())
def test_a_damaged_coinbase_is_odd_or_read_as_the_chain_reads_it(data: st.DataObject) -> None:
    raw = bytearray(bytes.fromhex(COINBASE1 + "08000002" + "00" * 4 + COINBASE2))
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(len(raw) - 3, len(raw))) :]
    try:
        got = read_coinbase(bytes(raw))
    except OddCoinbase:
        with contextlib.suppress(ChainError):
            assert parse_coinbase(bytes(raw)).has_witness
    else:
        assert len(got.outputs) == len(parse_coinbase(bytes(raw)).outputs)


_hex = st.binary(max_size=80).map(bytes.hex)


@given(st.builds(dict, coinbase1=_hex, coinbase2=_hex, prev_hash=_hex, nbits=_hex, ntime=_hex, branch=st.lists(_hex)))
def test_any_hex_is_a_job_or_a_named_refusal(changes: dict[str, Any]) -> None:
    try:
        JobMaker("pool", 1).make(announced(**changes), UNDER, 0.0)
    except StratumMisbehaved:
        return


@given(st.binary(max_size=300), st.binary(max_size=300), st.binary(max_size=32), st.integers(1, 16))
def test_any_halves_of_a_coinbase_make_a_job(head: bytes, tail: bytes, extranonce1: bytes, size: int) -> None:
    message = replace(announced(), coinbase1_hex=head.hex(), coinbase2_hex=tail.hex())
    job = made(JobMaker("pool", 1), message, Circumstances(extranonce1, size, 1.0, 0)).job
    assert job.body == CoinbaseParts(head + extranonce1, tail, size, (b"\x11" * 32,))


@given(st.integers(0, 119), st.integers(0, 16), st.integers(1, 16))
def test_a_coinbase_cut_anywhere_makes_a_job(cut: int, size1: int, size2: int) -> None:
    whole = bytes.fromhex(COINBASE1 + "08000002" + "00" * 4 + COINBASE2)
    message = replace(announced(), coinbase1_hex=whole[:cut].hex(), coinbase2_hex=whole[cut + size1 + size2 :].hex())
    result = made(JobMaker("pool", 1), message, Circumstances(whole[cut : cut + size1], size2, 1.0, 0))
    assert result.coinbase.oddity or result.coinbase.script
