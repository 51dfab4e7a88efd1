"""The command on three pools: which of them is mined, for how much of the time, and what the ledger says of that."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.books.ledger import read, totals
from tests.pool_mining import STEADY, USER, mined, more, on, taken_twice
from tests.running import Home, home
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import Reset


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


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
