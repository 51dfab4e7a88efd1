"""The virtual pool judges shares as real pools do, over TLS too, and keeps no more than it needs."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import Reset
from tests.virtual.pool_judge import Reason
from tests.virtual.pool_model import CONNECT, KEPT_SEATS, Pool
from tests.virtual.pool_session import KEPT_JOBS, Call
from tests.virtual.pool_shares import X2, a_share, mined
from tests.virtual.pool_terms import EASY, Terms
from tests.virtual.pool_tls import Authority
from tests.virtual.pool_work import ANYONE_NBITS
from tests.virtual.raw_miner import RawMiner

# ---- shares over the wire


def test_right_shares_are_accepted_and_credited(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert len(miner.extranonce1) == 8
        found = work.search(X2)
        for _ in range(3):
            assert miner.submit(work, X2, next(found))["result"] is True
    account = pool.account("user")
    assert (account.accepted, account.difficulty, account.submitted) == (3, 3 * Fraction(EASY), 3)
    assert pool.violations() == {}


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name.lower())
def test_each_wrong_share_is_named(reason: Reason) -> None:
    with VirtualPool(Terms(ntime_ahead_s=60)) as pool, RawMiner(pool.port) as miner:
        if reason is Reason.NOT_SUBSCRIBED:
            answer = miner.ask("mining.submit", "user", "1", X2, "00000000", "00000000")
            assert answer["error"] == [25, "Not subscribed", None]
            return
        miner.configure("0000e000")
        work = miner.begin()
        share = miner.share(work, X2, mined(work), "00000000")
        user, job, extranonce2, ntime, nonce, bits = share
        late = f"{int(ntime, 16) + 3600:08x}"
        match reason:
            case Reason.MALFORMED:
                share = [user, job, extranonce2, ntime, nonce]
            case Reason.EXTRANONCE2_SIZE:
                share = [user, job, extranonce2 + "00", ntime, nonce, bits]
            case Reason.NTIME:
                share = [user, job, extranonce2, late, nonce, bits]
            case Reason.VERSION:
                share[5] = "00010000"
            case Reason.UNKNOWN_JOB:
                share[1] = "never"
            case Reason.STALE:
                pool.new_job(clean=True)
            case Reason.DUPLICATE:
                assert miner.ask("mining.submit", *share)["result"] is True
            case Reason.LOW_DIFFICULTY:
                share = miner.share(work, X2, mined(work, meets=False), "00000000")
            case Reason.UNAUTHORIZED:
                share[0] = "somebody"
        assert miner.ask("mining.submit", *share)["error"] == [reason.code, reason.text, None]
        assert pool.account(share[0]).rejected == {reason: 1}


def test_a_share_before_its_time_is_refused(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        early = f"{int(work.params[7], 16) - 1:08x}"
        miner.submit(work, X2, mined(work, ntime=early))
    assert pool.account("user").rejected == {Reason.NTIME: 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda share: share[:4],
        lambda share: [*share, "00000000", "00000000"],
        lambda share: [*share[:4], share[4].upper() + "F"],
        lambda share: [*share[:4], share[4][1:]],
        lambda share: [*share[:3], int(share[3], 16), share[4]],
        lambda share: [*share[:2], "0000000", *share[3:]],
        lambda share: [*share, "00000000"],  # version bits that were never granted
    ],
    ids=["short", "long", "upper case", "seven digits", "number", "odd extranonce2", "ungranted bits"],
)
def test_a_share_in_another_form_is_malformed(pool: VirtualPool, spoil: Any) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert miner.ask("mining.submit", *spoil(miner.share(work, X2, mined(work))))["error"][0] == 20
    assert pool.account("user").rejected == {Reason.MALFORMED: 1}


def test_a_block_counts_even_below_the_share_target() -> None:
    with VirtualPool(Terms(nbits=ANYONE_NBITS, difficulty=1e6)) as pool, RawMiner(pool.port) as miner:
        work = replace(miner.begin(), difficulty=2.0**-31)
        assert miner.submit(work, X2, mined(work))["result"] is True
        assert pool.account("user").blocks == 1


# ---- TLS, coroutines


def test_shares_go_through_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with VirtualPool(tls=authority.server()) as pool:
        assert pool.url == f"stratum+tls://127.0.0.1:{pool.port}"
        with RawMiner(pool.port, tls=authority.client()) as miner:
            work = miner.begin()
            assert miner.submit(work, X2, mined(work))["result"] is True
        pool.on(CONNECT, Reset())
        with (
            pytest.raises((ConnectionError, EOFError, ssl.SSLError)),
            RawMiner(pool.port, tls=authority.client()) as miner,
        ):
            miner.begin()


@pytest.mark.parametrize("flaw", ["another name", "expired", "another authority"])
def test_a_flawed_certificate_is_seen_by_who_checks(tmp_path: Path, flaw: str) -> None:
    authority = Authority(tmp_path)
    server = authority.server("pool.example") if flaw == "another name" else authority.server(expired=flaw == "expired")
    with VirtualPool(tls=server) as pool:
        client = ssl.create_default_context() if flaw == "another authority" else authority.client()
        with pytest.raises(ssl.SSLCertVerificationError):
            RawMiner(pool.port, tls=client)


def test_a_coroutine_can_use_it() -> None:
    async def conversation(pool: VirtualPool) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", pool.port)
        writer.write(b'{"id": 1, "method": "mining.subscribe", "params": []}\n')
        answer: dict[str, Any] = json.loads(await reader.readline())
        await asyncio.to_thread(pool.until, lambda model: model.requests("mining.subscribe"))
        assert pool.do(lambda model: model.said_messages["answer"]) == 1
        writer.close()
        await writer.wait_closed()
        return answer

    with VirtualPool() as pool:
        assert len(asyncio.run(conversation(pool))["result"]) == 3


def test_a_port_in_use_is_an_error_of_start(pool: VirtualPool) -> None:
    other = VirtualPool()
    other.port = pool.port
    with pytest.raises(OSError, match="in use"):
        other.start()
    other.port = 0
    with other:
        assert a_share(other)["result"] is True


def test_an_error_of_the_pool_itself_fails_the_test() -> None:
    def broken(call: Call) -> None:
        raise ZeroDivisionError

    pool = VirtualPool().start()
    pool.on("mining.subscribe", broken)
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        assert miner.line() == b""
    with pytest.raises(ZeroDivisionError):
        pool.stop()
    with pytest.raises(IndexError):  # of an act: raised where it was asked for
        pool.do(lambda model: model.sessions[0])


def test_waiting_for_what_does_not_come_ends(pool: VirtualPool) -> None:
    with pytest.raises(TimeoutError):
        pool.until(lambda model: model.connections, timeout_s=0.05)


class Silent:
    """A wire that only remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def reset(self) -> None:
        self.closed = True

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        call()


ARRIVAL = (
    b'{"id": 1, "method": "mining.subscribe", "params": []}\n{"id": 2, "method": "mining.auth',
    b'orize", "params": ["user", "x"]}\n',
)


def test_without_its_thread_a_fake_clock_runs_it() -> None:
    now = 1.7e9
    model, wire = Pool(clock=lambda: now), Silent()
    session = model.connect(wire)
    for part in ARRIVAL:
        session.receive(part)
    now += 86_400
    model.new_job(clean=True)
    last = json.loads(wire.written.splitlines()[-1])
    assert int(last["params"][7], 16) == int(now)
    session.receive(b"x" * 2000)
    assert wire.closed


def test_a_long_run_keeps_no_more_than_it_needs() -> None:
    model = Pool(Terms(difficulty=2.0**-32))
    for _ in range(KEPT_SEATS + 10):
        session = model.connect(Silent())
        for part in ARRIVAL:
            session.receive(part)
        model.lost(session)
    session = model.connect(Silent())
    for part in ARRIVAL:
        session.receive(part)
    assert session.seat is not None
    for number in range(KEPT_JOBS + 10):
        job = model.new_job(clean=number % 8 == 7).id
        share = {"id": number + 3, "method": "mining.submit", "params": ["user", job, "00" * 4, "%08x", "00000000"]}
        ntime = session.seat.jobs[job].ntime
        session.receive((json.dumps(share) % ntime).encode() + b"\n")
    assert model.books.accounts["user"].accepted == KEPT_JOBS + 10
    assert len(model._seats) == KEPT_SEATS
    assert len(session.seat.jobs) == KEPT_JOBS
    assert len(model._seen) < 8
