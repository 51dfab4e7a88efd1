"""The command against another people's pool, which checks each share with code of its own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.conftest import StartBitcoind, StartForeignPool
from tests.real.mempool import fund_mempool, mine
from tests.real.nodes import wait_until
from tests.running import Home, home, summary_of

USER = "account.worker"


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def test_hundreds_of_shares_are_accepted_and_both_sides_count_alike(
    bitcoind: StartBitcoind, foreign_pool: StartForeignPool, operator: Home, tmp_path: Path
) -> None:
    node, target = bitcoind(), tmp_path / "s.json"
    fund_mempool(node, 20)
    pool = foreign_pool(node=node, difficulty=2**-16)
    url = f"stratum+tcp://127.0.0.1:{pool.port}"
    miner = operator.start("--pool", url, "--user", USER, "--shares", "500", "--summary", str(target))
    miner.until("share_accepted", 100)
    mine(node, 1)  # a new parent: what was found on the old one is honestly stale
    assert miner.ended() == 0, miner.output()
    shares = summary_of(target)["shares"]
    assert shares["accepted"] >= 500
    assert shares["rejected"] == 0, miner.output()[-3000:]
    assert wait_until(lambda: pool.account(USER).accepted == shares["accepted"], 20)
    assert set(pool.account(USER).rejected) <= {"job not found"}


def test_a_pool_that_was_killed_is_mined_on_again_when_it_is_back(
    foreign_pool: StartForeignPool, operator: Home
) -> None:
    pool = foreign_pool(difficulty=2**-14)
    miner = operator.start("--pool", f"stratum+tcp://127.0.0.1:{pool.port}", "--user", USER)
    miner.until("share_accepted", 5)
    pool.kill()
    miner.until("source_down")
    pool.start()
    miner.until("source_up", 2)
    miner.until("share_accepted", miner.output().count("share_accepted") + 5)
    miner.signal(signal.SIGINT)
    assert miner.ended() == 0, miner.output()
