"""The command against a pool that judges every share by itself: what an operator who mines on pools lives through."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from miner.ledger import read, totals
from tests.running import Home, Miner, home, summary_of
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import Reset
from tests.virtual.pool_judge import Reason
from tests.virtual.pool_model import Pool
from tests.virtual.pool_terms import Reask, Rolling, Terms
from tests.virtual.pool_tls import Authority

EASY = Terms(difficulty=2**-13, every_s=0.5)  # half a million hashes a share
STEADY = Terms(difficulty=2**-13, every_s=0.5, clean_every=1 << 30)  # nothing ever becomes stale
USER = "account.worker"


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def mined(miner: Miner) -> None:
    assert miner.ended() == 0, miner.output()


def on(*pools: VirtualPool) -> list[str]:
    return [word for pool in pools for word in ("--pool", f"stratum+tcp://127.0.0.1:{pool.port}")]


def more(pool: VirtualPool) -> None:
    """Wait until the pool has accepted three shares more."""

    def accepted(model: Pool) -> int:
        return model.books.accounts[USER].accepted if USER in model.books.accounts else 0

    wanted = pool.do(accepted) + 3
    pool.until(lambda model: accepted(model) >= wanted, 60)


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


def taken_twice(pool: VirtualPool) -> int:
    """How many shares came again on a resumed session; any other refusal is an error."""
    verdicts = pool.verdicts()
    taken = {verdict.header for verdict in verdicts if verdict.accepted}
    refused = Counter(verdict.header for verdict in verdicts if not verdict.accepted)
    assert set(pool.account(USER).rejected) <= {Reason.DUPLICATE}
    assert set(refused) <= taken
    assert set(refused.values()) <= {1}
    return len(refused)


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


def test_work_is_divided_by_quota_and_the_ledger_agrees_with_every_pool(operator: Home, tmp_path: Path) -> None:
    quotas = (70, 20, 10)
    with VirtualPool(STEADY) as first, VirtualPool(STEADY) as second, VirtualPool(STEADY) as third:
        pools = (first, second, third)
        tables = [
            f'[[pool]]\nurl = "{pool.url}"\nuser = "{USER}"\nquota = {quota}\n'
            for pool, quota in zip(pools, quotas, strict=True)
        ]
        file = tmp_path / "miner.toml"
        file.write_text('strategy = "quota"\n' + "\n".join(tables))
        mined(operator.start("--config", str(file), "--seconds", "8"))
        entries = totals(read(operator.state / "ledger"))
        work = sum(entry.hashes for entry in entries.values())
        for pool, quota in zip(pools, quotas, strict=True):
            entry, account = entries[pool.url], pool.account(USER)
            assert (entry.accepted, entry.difficulty) == (account.accepted, float(account.difficulty))
            assert entry.submitted == account.accepted + entry.rejected.total()
            assert entry.hashes / work == pytest.approx(quota / 100, abs=0.06), "but for slices at both ends"
            assert (
                abs(entry.accepted - entry.expected_difficulty * 2**13) < 4 * (entry.expected_difficulty * 2**13) ** 0.5
            )
    shown = operator.start("ledger", "--json")
    mined(shown)
    assert json.loads(shown.output())[0]["sources"][first.url]["accepted"] == entries[first.url].accepted


def test_of_three_pools_the_first_that_lives_is_mined(operator: Home) -> None:
    with VirtualPool(STEADY) as first, VirtualPool(STEADY) as second, VirtualPool(STEADY) as third:
        miner = operator.start(*on(first, second, third), "--user", USER, "--return-after", "0.5")
        more(first)
        first.on("mining.submit", Reset(after=True))
        first.always("connect", Reset())
        more(second)
        first.heal()
        more(first)
        second.stop()
        more(first)
        first.stop()
        more(third)
        miner.signal(signal.SIGINT)
        mined(miner)
        taken_twice(first)
        taken_twice(second)
        assert not third.account(USER).rejected
