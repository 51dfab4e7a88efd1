"""The foreign pool accepts right shares and names wrong ones: what the miner's tests take it for."""

from __future__ import annotations

import socket
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.real.conftest import StartBitcoind, StartForeignPool
from tests.real.mempool import fund_mempool, mine
from tests.real.nodes import wait_until
from tests.real.pools import WRONG_PASSWORD, ForeignPool
from tests.virtual.raw_miner import RawMiner

X2 = "00000001"
SOON_S = 20.0


@pytest.fixture
def pool(foreign_pool: StartForeignPool) -> ForeignPool:
    return foreign_pool()


def test_right_shares_are_accepted_and_counted(pool: ForeignPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert (len(miner.extranonce1), miner.extranonce2_size) == (8, 4)
        assert work.params[6] == pool.bits
        assert work.difficulty == pool.difficulty
        found = work.search(X2)
        for _ in range(3):
            assert miner.submit(work, X2, next(found))["result"] is True
    assert wait_until(lambda: pool.account("user").accepted == 3, SOON_S)
    assert pool.account("user").difficulty == 3 * Fraction(pool.difficulty)


def test_wrong_shares_are_named(pool: ForeignPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        share = next(work.search(X2))
        far = f"{int(work.params[7], 16) + 10_000:08x}"
        assert miner.submit(work, X2, share)["result"] is True
        assert miner.submit(work, X2, share)["error"] == [22, "duplicate share"]
        assert miner.submit(work, X2, next(work.search(X2, meets=False)))["error"][0] == 23
        assert miner.submit(work, X2, (far, share[1]))["error"] == [20, "ntime out of range"]
        assert miner.submit(work, X2 + "00", share)["error"] == [20, "incorrect size of extranonce2"]
        unknown = replace(work, params=["ffff", *work.params[1:]])
        assert miner.submit(unknown, X2, share)["error"] == [21, "job not found"]
    assert wait_until(lambda: pool.account("user").rejected.total() == 5, SOON_S)
    assert pool.account("user").rejected["low difficulty share"] == 1


def test_a_new_parent_makes_older_jobs_unknown(pool: ForeignPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        old = next(work.search(X2))
        mine(pool.node, 1)
        new = miner.job()
        assert new.params[1] != work.params[1]
        assert new.params[8] is True
        assert miner.submit(work, X2, old)["error"][0] == 21
        assert miner.submit(new, X2, next(new.search(X2)))["result"] is True


def test_branches_of_a_full_mempool_fold_as_the_pool_folds_them(
    bitcoind: StartBitcoind, foreign_pool: StartForeignPool
) -> None:
    node = bitcoind()
    fund_mempool(node, 12)
    with RawMiner(foreign_pool(node=node).port) as miner:
        work = miner.begin()
        assert len(work.params[4]) == 4
        assert miner.submit(work, X2, next(work.search(X2)))["result"] is True


def test_jobs_on_the_same_parent_leave_older_ones_valid(foreign_pool: StartForeignPool) -> None:
    pool = foreign_pool(every_s=0.3)
    with RawMiner(pool.port) as miner:
        first = miner.begin()
        second = miner.job()
        assert (first.params[1], second.params[8]) == (second.params[1], False)
        assert miner.submit(first, X2, next(first.search(X2)))["result"] is True
        assert miner.submit(second, X2, next(second.search(X2)))["result"] is True


def test_versions_are_not_rolled_and_users_can_be_refused(pool: ForeignPool) -> None:
    with RawMiner(pool.port) as miner:
        assert miner.configure()["result"] == {}
        miner.ask("mining.subscribe", "raw/1")
        assert miner.ask("mining.authorize", "user", WRONG_PASSWORD)["result"] is False
        answer = miner.ask("mining.submit", "user", "1", X2, "00000000", "00000000")
        assert answer["error"] == [24, "unauthorized worker", None]


def test_it_listens_on_this_machine_alone(pool: ForeignPool) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", pool.port), SOON_S)


def test_it_comes_back_on_its_port(pool: ForeignPool) -> None:
    pool.kill()
    with pytest.raises(ConnectionRefusedError):
        RawMiner(pool.port)
    pool.start()
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert miner.submit(work, X2, next(work.search(X2)))["result"] is True
