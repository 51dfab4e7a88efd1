"""What large pools say, line by line as published: each line is read, each job mined, each known share proved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miner.sources.stratum import messages
from miner.sources.stratum.coinbase import SCRIPT_START
from miner.sources.stratum.job import Circumstances, JobMaker, Made, coinbase_of
from miner.sources.stratum.lines import decode
from miner.sources.stratum.messages import Answer, Notify, SetExtranonce
from miner.sources.stratum.rolling import Style
from miner.sources.stratum.shares import header_of
from miner.work.job import CoinbaseParts
from miner.work.share import Share
from tests.sources.stratum.talk import Table
from tests.virtual.pool_judge import SentJob, sha256d, target_of

VECTORS = Path(__file__).parents[2] / "vectors" / "pools.json"
ALL: list[dict[str, Any]] = json.loads(VECTORS.read_text("utf-8"))["conversations"]
WITH_JOBS = [told for told in ALL if told["place"] is not None]
MASK = 0x1FFFE000


def named(told: dict[str, Any]) -> str:
    return str(told["id"])


def read_all(told: dict[str, Any]) -> list[Any]:
    return [messages.read(decode(line.encode())) for line in told["lines"]]


def extranonce(told: dict[str, Any]) -> tuple[bytes, int]:
    if "extranonce" in told:
        extranonce1, size = told["extranonce"]
        return bytes.fromhex(extranonce1), size
    (result,) = [each.result for each in read_all(told) if isinstance(each, Answer) and isinstance(each.result, list)]
    joined = messages.subscribed(result)
    return joined.extranonce1, joined.extranonce2_size


def listened(told: dict[str, Any]) -> Table:
    """A connection on which the pool has joined us and made its announcements."""
    table = Table()
    extranonce1, size = extranonce(told)
    table.join(extranonce1=extranonce1.hex(), size=size)
    table.say(*[line.encode() + b"\n" for line in told["lines"] if '"method"' in line])
    return table


def job_of(told: dict[str, Any]) -> tuple[Notify, Circumstances, Made]:
    (notify,) = [each for each in read_all(told) if isinstance(each, Notify)]
    under = Circumstances(*extranonce(told), 1.0, MASK)
    made = JobMaker("pool", 1).make(notify, under, 0.0)
    assert made is not None
    return notify, under, made


@pytest.mark.parametrize("told", WITH_JOBS, ids=named)
def test_the_job_of_a_large_pool_is_mined_and_nothing_about_it_is_odd(told: dict[str, Any]) -> None:
    notify, under, made = job_of(told)
    assert made.coinbase.oddity == ""
    assert made.coinbase.height is not None
    assert 600_000 < made.coinbase.height < 1_000_000
    value, script = max(made.coinbase.outputs)
    assert value > 0
    assert made.coinbase.pays(script)
    script_end = SCRIPT_START + len(made.coinbase.script)
    start = len(notify.coinbase1_hex) // 2
    end = start + len(under.extranonce1) + under.extranonce2_size
    places = {
        "script": end <= script_end,
        "script and sequence": start < script_end < end,
        "output": start > script_end,
    }
    assert places[told["place"]]


@pytest.mark.parametrize("told", [told for told in WITH_JOBS if "share" in told], ids=named)
def test_a_share_of_a_large_pool_has_the_difficulty_that_its_miner_logged(told: dict[str, Any]) -> None:
    notify, under, made = job_of(told)
    share = told["share"]
    params = ("user", notify.job_id, share["extranonce2"], share["ntime"], share["nonce"], share["version_bits"])
    ours = header_of(made.job.payload, params, MASK, Style.REPLACE)
    assert sha256d(ours)[::-1].hex() == share["hash"]
    assert isinstance(made.job.body, CoinbaseParts)
    assert made.job.body.merkle_root(bytes.fromhex(share["extranonce2"])) == ours[36:68]
    assert int(share["hash"], 16) <= target_of(share["difficulty"] * 0.999)
    said = map(json.loads, told["lines"])
    raw = next(message["params"] for message in said if message.get("method") == "mining.notify")
    sent = SentJob(raw, under.extranonce1.hex(), under.extranonce2_size, 1.0, 1, 0.0)
    version = sent.version | int(share["version_bits"], 16)
    assert sent.header(share["extranonce2"], int(share["ntime"], 16), int(share["nonce"], 16), version) == ours


@pytest.mark.parametrize("told", WITH_JOBS, ids=named)
def test_what_a_large_pool_announces_leads_to_work(told: dict[str, Any]) -> None:
    table = listened(told)
    (job,) = table.jobs
    assert job.height is not None
    assert {"coinbase_odd", "job_refused", "line_ignored", "pool_complains"}.isdisjoint(table.said)
    assert table.left is None


@pytest.mark.parametrize("told", [told for told in ALL if told["id"] in ("viabtc", "braiins")], ids=named)
def test_a_share_that_a_large_pool_accepted_would_be_handed_in_alike(told: dict[str, Any]) -> None:
    table, share = listened(told), told["share"]
    (job,) = table.jobs
    found = Share(
        1,
        job,
        "cpu",
        bytes.fromhex(share["extranonce2"]),
        int(share["nonce"], 16),
        version=job.version | int(share["version_bits"], 16),
        ntime=int(share["ntime"], 16),
        hash=int(share["hash"], 16),
        block=False,
        stale=False,
        found_at=0.0,
    )
    (request,) = table.submit(found)
    names = ("extranonce2", "ntime", "nonce", "version_bits")
    assert request["params"][2:] == [share[name] for name in names]


@pytest.mark.parametrize("told", WITH_JOBS, ids=named)
def test_the_coinbase_of_a_large_pool_reads_the_same_with_other_extranonces(told: dict[str, Any]) -> None:
    notify, under, made = job_of(told)
    other = coinbase_of(notify, replace(under, extranonce1=b"\xff" * len(under.extranonce1)))
    assert other.outputs == made.coinbase.outputs
    assert other.height == made.coinbase.height


def test_nicehash_gives_out_nine_bytes_of_extranonce1_and_leaves_three() -> None:
    (told,) = [told for told in ALL if told["id"] == "nicehash"]
    assert extranonce(told) == (bytes.fromhex("02187bbb75009a23a3"), 3)
    assert SetExtranonce(bytes.fromhex("3263b370affeb0d550"), 3) in read_all(told)


def test_a_complaint_of_two_elements_is_understood() -> None:
    (told,) = [told for told in ALL if told["id"] == "antpool"]
    (answer,) = [each for each in read_all(told) if isinstance(each, Answer) and each.refused]
    assert (answer.code, answer.text) == (40, "unfit, ignore")
