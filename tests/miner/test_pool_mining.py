"""The command against a pool that judges every share by itself: what an operator who mines on pools lives through."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.pool_mining import EASY, STEADY, USER, mined, more, on, taken_twice
from tests.running import Home, home, summary_of
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import Reset
from tests.virtual.pool_terms import Reask, Rolling, Terms
from tests.virtual.pool_tls import Authority


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def test_every_share_is_accepted_and_both_sides_count_alike(operator: Home, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    with VirtualPool(EASY) as pool:
        mined(operator.start(*on(pool), "--user", USER, "--shares", "50", "--summary", str(target)))
        account, violations = pool.account(USER), pool.violations()
    shares = summary_of(target)["shares"]
    assert shares["accepted"] == account.accepted >= 50
    assert shares["rejected"] == 0
    assert not violations


@pytest.mark.parametrize("rolling", list(Rolling))
def test_version_bits_are_rolled_as_each_kind_of_pool_reads_them(operator: Home, rolling: Rolling) -> None:
    terms = Terms(difficulty=2**-13, every_s=0.5, rolling=rolling, version=0x30000000)  # a bit inside the mask
    with VirtualPool(terms) as pool:
        mined(operator.start(*on(pool), "--user", USER, "--shares", "30"))
        assert pool.account(USER).accepted >= 30
        assert sum(pool.account(USER).rejected.values()) <= 8


def test_how_a_pool_reads_version_bits_is_learnt_once_and_every_share_is_logged(operator: Home, tmp_path: Path) -> None:
    terms = replace(STEADY, rolling=Rolling.REPLACE, reask=Reask.SAME, version=0x30000000)
    log = tmp_path / "shares.jsonl"
    with VirtualPool(terms) as pool:
        ours = [*on(pool), "--user", USER, "--share-log", str(log)]
        mined(operator.start(*ours, "--shares", "10"))
        taught = pool.account(USER)
        assert 0 < taught.rejected.total() <= 8
        mined(operator.start(*ours, "--shares", "10"))
        account = pool.account(USER)
    assert account.rejected == taught.rejected
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    verdicts = Counter(line["verdict"] for line in lines)
    assert verdicts["accepted"] == account.accepted
    assert verdicts["low-difficulty"] == account.rejected.total() == len(lines) - verdicts["accepted"]
    assert all(line["found_to_sent_s"] >= 0 and line["sent_to_answered_s"] > 0 for line in lines)
    assert USER not in log.read_text()


def test_tls_is_verified_unless_the_operator_says_otherwise(operator: Home, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with VirtualPool(EASY, tls=authority.server("127.0.0.1", "localhost")) as pool:
        url = f"stratum+tls://127.0.0.1:{pool.port}"
        known = operator.start("--pool", url, "--user", USER, "--shares", "3", "--ca-file", str(authority.ca_file))
        mined(known)
        trusting = operator.start("--pool", url, "--user", USER, "--shares", "3", "--insecure")
        mined(trusting)
        assert "pool_unproven" in trusting.output()
        wary = operator.start("--pool", url, "--user", USER, "--shares", "3")
        wary.until("source_down")
        wary.signal(signal.SIGINT)
        wary.ended()
        assert "certificate" in wary.output()


def test_when_the_pool_is_gone_the_next_is_mined_and_the_first_again_once_it_is_back(operator: Home) -> None:
    with VirtualPool(STEADY) as first, VirtualPool(STEADY) as second:
        miner = operator.start(*on(first, second), "--user", USER, "--return-after", "0.5")
        more(first)
        first.stop()
        more(second)
        first.start()
        more(first)
        miner.signal(signal.SIGINT)
        mined(miner)
        taken_twice(first)  # what was under way when it was cut off, and nothing else
        assert not second.account(USER).rejected


def test_a_share_whose_answer_was_lost_with_the_connection_counts_once(operator: Home, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    with VirtualPool(STEADY) as pool:
        pool.on("mining.submit", Reset(after=True))
        mined(operator.start(*on(pool), "--user", USER, "--shares", "5", "--summary", str(target)))
        assert taken_twice(pool) >= 1
        shares = summary_of(target)["shares"]
        assert (shares["accepted"], shares["rejected"]) == (pool.account(USER).accepted, 0)


def test_a_wrong_user_is_said_and_not_hammered(operator: Home) -> None:
    with VirtualPool(Terms(users={"someone.else": "x"})) as pool:
        miner = operator.start(*on(pool), "--user", USER, MINER_PASSWORD="opensesame")
        miner.until("source_down")
        miner.signal(signal.SIGINT)
        miner.ended()
        assert pool.do(lambda model: model.connections) <= 2
    assert "opensesame" not in miner.output()
