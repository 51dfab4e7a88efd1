"""The virtual pool misbehaves as told."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import (
    BAD_JOBS,
    GARBAGE,
    MISCHIEF,
    Backwards,
    BadJob,
    Changed,
    Close,
    Cut,
    Deaf,
    Ignored,
    Instead,
    JobFirst,
    Late,
    Mischief,
    Noise,
    NoticeFirst,
    Oversized,
    Refused,
    Reset,
    Twice,
    Unanswered,
    Unread,
)
from tests.virtual.pool_model import CONNECT
from tests.virtual.pool_session import Fault
from tests.virtual.pool_shares import X2, a_share, one_share
from tests.virtual.raw_miner import RawMiner

STEPS = (CONNECT, "mining.configure", "mining.subscribe", "mining.authorize", "mining.submit", "mining.notify")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", [Reset(), Reset(after=True), Close(), Cut()], ids=repr)
def test_connections_end_at_every_step_and_the_next_one_is_served(pool: VirtualPool, step: str, fault: Any) -> None:
    pool.on(step, fault)
    with pytest.raises((ConnectionError, EOFError, ValueError)):
        a_share(pool)
    assert a_share(pool)["result"] is True
    acted = step == "mining.submit" and fault in (Reset(after=True), Cut())
    assert pool.account("user").accepted == 1 + acted


def test_a_reset_is_none_of_the_orderly_ends(pool: VirtualPool) -> None:
    pool.on("mining.subscribe", Reset(), Close(), Cut())
    with RawMiner(pool.port) as miner, pytest.raises(ConnectionResetError):
        miner.ask("mining.subscribe")
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        assert miner.line() == b""
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        miner.send("mining.authorize", "user", "x")
        part = miner.socket.recv(4096)
        assert part.startswith(b'{"id": 1, "result": ')
        assert not part.endswith(b"\n")
        with pytest.raises(ConnectionResetError):
            miner.line()


@pytest.mark.parametrize("step", STEPS[1:5])
def test_a_deaf_pool_stays_connected_and_silent(pool: VirtualPool, step: str) -> None:
    pool.on(step, Deaf())
    with RawMiner(pool.port) as miner:
        miner.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one_share(miner)
        pool.new_job(clean=True)
        with pytest.raises(TimeoutError):
            miner.line()


def test_a_pool_whose_receiving_half_has_died_sends_jobs_and_serves_the_next_connection(pool: VirtualPool) -> None:
    pool.on("mining.submit", Unread())
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        miner.send("mining.submit", *miner.share(work, X2, next(work.search(X2))))
        miner.send("mining.extranonce.subscribe")
        pool.until(lambda model: all(session.unread for session in model.sessions))
        job = pool.new_job()
        heard = [json.loads(miner.line())]
        while job not in heard[-1]["params"]:
            heard.append(json.loads(miner.line()))
    assert all(message["id"] is None for message in heard)
    assert a_share(pool)["result"] is True


def test_answers_go_astray(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        shares = [miner.share(work, X2, found) for found, _ in zip(work.search(X2), range(9), strict=False)]
        faults: list[Fault] = [
            Ignored(),
            Unanswered(),
            Late(0.01),
            Twice(),
            Instead("yes", None),
            Refused(20, "Other"),
            Changed(lambda message: message | {"result": [message["result"]]}),
            Instead(),
        ]
        pool.on("mining.submit", *faults)
        first, *_ = [miner.send("mining.submit", *share) for share in shares]
        answers = sorted((miner.answer() for _ in range(8)), key=lambda answer: int(answer["id"]))
    got = [(answer["id"] - first, answer["result"]) for answer in answers]
    assert got == [(2, True), (3, True), (3, True), (4, "yes"), (5, None), (6, [True]), (7, None), (8, True)]
    assert pool.account("user").accepted == 5


def test_answers_come_backwards(pool: VirtualPool) -> None:
    pool.always("mining.submit", Backwards(batch=3))
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        shares = [miner.share(work, X2, found) for found, _ in zip(work.search(X2), range(5), strict=False)]
        sent = [miner.send("mining.submit", *share) for share in shares]
        assert [miner.answer()["id"] for _ in sent] == [*sent[2::-1], sent[4], sent[3]]


def test_notices_come_between_a_request_and_its_answer(pool: VirtualPool) -> None:
    pool.on("mining.subscribe", NoticeFirst("client.show_message", ("hello",)))
    pool.on("mining.submit", JobFirst(clean=False), JobFirst(clean=True))
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert miner.notices[0]["params"] == ["hello"]
        found = work.search(X2)
        assert miner.submit(work, X2, next(found))["result"] is True
        assert miner.submit(work, X2, next(found))["error"][1] == "Stale"
        assert [notice["method"] for notice in miner.notices].count("mining.notify") == 3


def test_garbage_and_long_lines_come_first(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        for noise in GARBAGE:
            pool.on("mining.extranonce.subscribe", Noise(noise))
            miner.send("mining.extranonce.subscribe")
            assert miner.line() == noise
            assert json.loads(miner.line())["result"] is True
        pool.on("mining.extranonce.subscribe", Oversized(1 << 20))
        miner.send("mining.extranonce.subscribe")
        assert len(miner.line()) == (1 << 20) + 1


@pytest.mark.parametrize("name", BAD_JOBS)
def test_bad_jobs_differ_from_good_ones(pool: VirtualPool, name: str) -> None:
    with RawMiner(pool.port) as miner:
        miner.begin()
        pool.on("mining.notify", BadJob(BAD_JOBS[name]))
        pool.new_job()
        bad = json.loads(miner.line())
        assert bad["method"] == "mining.notify"
        assert bad["params"] != pool.do(lambda model: model.template.params(8))


def test_it_comes_back_on_its_port_and_remembers_accounts(pool: VirtualPool) -> None:
    port = pool.port
    assert a_share(pool)["result"] is True
    with RawMiner(port) as miner:
        miner.begin()
        pool.stop()
        with pytest.raises((ConnectionError, EOFError)):
            miner.job()
    with pytest.raises(ConnectionRefusedError):
        RawMiner(port)
    pool.start()
    assert pool.port == port
    assert a_share(pool)["result"] is True
    assert pool.account("user").accepted == 2


@pytest.mark.parametrize("mischief", MISCHIEF, ids=lambda mischief: mischief.name)
def test_the_pool_survives_its_own_mischief(pool: VirtualPool, mischief: Mischief) -> None:
    with RawMiner(pool.port, patience_s=0.1) as miner:
        miner.configure()
        miner.begin()
        pool.misbehave(random.Random(1), among=(mischief,))
        try:
            one_share(miner)  # on a connection that may be no longer what it was
        except (OSError, EOFError, ValueError, TypeError, LookupError, AssertionError):
            pool.heal()
    assert a_share(pool)["result"] is True


def test_the_same_seed_does_the_same_mischief(pool: VirtualPool) -> None:
    first, second = ([pool.misbehave(random.Random(seed)).name for seed in range(40)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 10
