"""The whole source over real sockets against a pool in a thread, with hashlib in the place of devices."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from miner.sources.base import Source, SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.net.tls import Tls
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.rolling import Style
from miner.sources.stratum.source import StratumSource
from miner.work.events import Answered, NewJob, SourceDown, SourceEvent, SourceUp
from miner.work.job import Job
from miner.work.share import Answer, Reason
from tests.sources.stratum.talk import share_of
from tests.virtual import pool_faults as faults
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_judge import Reason as Judged
from tests.virtual.pool_judge import Rolling
from tests.virtual.pool_terms import Delivery, ErrorShape, Ids, Reask, Resume, Terms, Vardiff, WorkFrom
from tests.virtual.pool_tls import Authority
from tests.virtual.pool_work import PAYOUT_SCRIPT, Layout

PATIENCE_S = 20.0
HASTE = 30.0  # how much faster the source's clock runs than ours
BIT_28 = 1 << 28
_numbers = itertools.count(1)


def options(pool: VirtualPool, **changes: Any) -> StratumOptions:
    return StratumOptions(**({"host": pool.host, "port": pool.port, "user": "me.rig", "password": "secret"} | changes))


@dataclass
class Rig:
    """A source at work, and what it said."""

    source: StratumSource
    events: list[SourceEvent] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, event: SourceEvent) -> None:
        self.events.append(event)
        if isinstance(event, Answered):
            assert event.answer.share_id not in self.answers, "answered twice"
            self.answers[event.answer.share_id] = event.answer
        self._news.set()

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                self._news.clear()
                await self._news.wait()

    @property
    def jobs(self) -> list[Job]:
        return [event.job for event in self.events if isinstance(event, NewJob)]

    @property
    def at_work(self) -> bool:
        """Whether a job has come since the connection last stood."""
        told = [event for event in self.events if isinstance(event, (SourceUp, NewJob))]
        return bool(told) and isinstance(told[-1], NewJob)

    @property
    def refused(self) -> list[Reason | None]:
        return [answer.reason for answer in self.answers.values() if not answer.accepted]

    def count(self, kind: type[SourceEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def mine(self, count: int, job: Job | None = None) -> None:
        """Hand in shares of the newest job, no two alike, with every other version rolled."""
        job = job or self.jobs[-1]
        rolled = job.version | (job.version_mask & 0x0000A000)
        for _ in range(count):
            number = next(_numbers)
            size = job.body.extranonce2_size  # type: ignore[union-attr]
            extranonce2 = (number % (1 << 8 * size)).to_bytes(size, "little")
            version = rolled if number % 2 else job.version
            self.source.submit(share_of(job, extranonce2, version=version, found_at=self.source._clock()))

    async def mined(self, count: int) -> None:
        """Mine, and wait until all of it is answered."""
        goal = len(self.answers) + count
        self.mine(count)
        await self.until(lambda: len(self.answers) >= goal)


@contextlib.asynccontextmanager
async def mining(
    pool: VirtualPool, *, haste: float = 1.0, first_job: bool = True, **changes: Any
) -> AsyncIterator[Rig]:
    began = time.monotonic()
    source = StratumSource(
        options(pool, **changes),
        clock=lambda: (time.monotonic() - began) * haste,
        jitter=lambda: 0.05,
        tick=0.02,
    )
    rig = Rig(source)
    task = asyncio.create_task(source.run(rig.hear))
    try:
        if first_job:
            await rig.until(lambda: rig.jobs)
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_it_is_a_source() -> None:
    source: Source = StratumSource(StratumOptions(host="::1", port=3333, user="me", tls=Tls(insecure=True)))
    assert source.name == "stratum+tls://[::1]:3333"


@pytest.mark.parametrize(
    "terms",
    [
        Terms(),
        Terms(rolling=None),
        Terms(rolling=Rolling.OR, delivery=Delivery(piece=7)),
        Terms(rolling=Rolling.XOR, delivery=Delivery(gather=3)),
        Terms(delivery=Delivery(line_end=b"\r\n\r\n", ids=Ids.TEXT, version2=True), notify_params=10),
        Terms(extranonce1_size=0, flat_subscriptions=True, null_authorized=True, notify_params=8),
        Terms(extranonce1_size=7, extranonce2_size=8, branches=0, work_from=WorkFrom.BEFORE_SUBSCRIBED),
        Terms(extranonce2_size=2, branches=12, delivery=Delivery(ids=Ids.FLOAT), work_from=WorkFrom.SUBSCRIBED),
        Terms(no_error=[]),
        Terms(no_error={"code": 0, "message": ""}),
    ],
    ids=["model", "no-rolling", "or", "xor", "crlf", "p2pool", "early", "float-ids", "empty-list", "code-0"],
)
async def test_pools_of_every_kind_accept_every_share(terms: Terms) -> None:
    with VirtualPool(terms) as pool:
        async with mining(pool) as rig:
            await rig.mined(10)
            await asyncio.to_thread(pool.new_job, clean=True)
            await rig.until(lambda: len(rig.jobs) >= 2)
            await rig.mined(10)
        assert rig.refused == []
        assert pool.account("me.rig").accepted == 20
        assert pool.violations() == {}


NAMED = [Layout.SCRIPT, Layout.SEQUENCE, Layout.OUTPUT, Layout.LAST]


@pytest.mark.parametrize("layout", NAMED, ids=lambda layout: layout.name.lower())
async def test_extranonces_at_any_known_place_are_mined_and_the_payout_is_found(layout: Layout) -> None:
    with VirtualPool(Terms.of_layout(layout)) as pool:
        async with mining(pool, payout_script=PAYOUT_SCRIPT, require_payout=True) as rig:
            await rig.mined(50)
            await asyncio.to_thread(pool.new_job, clean=True)
            await rig.until(lambda: len(rig.jobs) >= 2)
            await rig.mined(50)
        assert rig.refused == []
        assert pool.account("me.rig").accepted == 100
        assert {job.height for job in rig.jobs} == {840_001, 840_002}


@pytest.mark.parametrize("layout", [each for each in Layout if each not in NAMED], ids=lambda each: each.name.lower())
async def test_a_coinbase_that_cannot_be_read_is_mined_unless_it_must_pay(layout: Layout) -> None:
    with VirtualPool(Terms.of_layout(layout)) as pool:
        async with mining(pool, payout_script=PAYOUT_SCRIPT) as rig:
            await rig.mined(5)
        assert rig.refused == []
        assert pool.account("me.rig").accepted == 5
        assert {job.height for job in rig.jobs} == {None}
        async with mining(pool, payout_script=PAYOUT_SCRIPT, require_payout=True, first_job=False) as rig:
            await asyncio.to_thread(pool.new_job)
            good = await asyncio.to_thread(pool.new_job, layout=Layout.SCRIPT)
            await rig.until(lambda: rig.jobs)
            assert [job.key for job in rig.jobs] == [good]


@pytest.mark.parametrize("reask", Reask)
@pytest.mark.parametrize("rolling", Rolling)
async def test_a_version_bit_inside_the_mask_costs_at_most_eight_shares(rolling: Rolling, reask: Reask) -> None:
    with VirtualPool(Terms(rolling=rolling, reask=reask, version=0x20000000 | BIT_28)) as pool:
        async with mining(pool, haste=HASTE) as rig:
            for _ in range(5):
                await rig.mined(12)
        expected = 8 if rolling is Rolling.REPLACE and reask is not Reask.HONOUR else 0
        assert len(rig.refused) <= expected
        assert set(rig.refused) <= {Reason.LOW_DIFFICULTY}
        changed = rig.source._pool.version_bits.style is Style.REPLACE
        assert changed is bool(expected)


@pytest.mark.parametrize("work_from", [WorkFrom.BEFORE_SUBSCRIBED, WorkFrom.SUBSCRIBED])
@pytest.mark.parametrize("size", [4, 6])
async def test_a_job_sent_before_set_extranonce_and_the_answer_to_authorize_keeps_its_extranonce(
    work_from: WorkFrom, size: int
) -> None:
    with VirtualPool(Terms(work_from=work_from)) as pool:
        pool.on("mining.authorize", faults.ExtranonceFirst(size))
        async with mining(pool) as rig:
            await rig.mined(5)
            await asyncio.to_thread(pool.new_job)
            await rig.until(lambda: len(rig.jobs) >= 2)
            await rig.mined(5)
            assert [job.body.extranonce2_size for job in rig.jobs] == [4, size]  # type: ignore[union-attr]
        assert rig.refused == []
        assert pool.account("me.rig").accepted == 10


@pytest.mark.parametrize("shape", ErrorShape)
async def test_refusals_of_every_shape_are_understood(shape: ErrorShape) -> None:
    with VirtualPool(Terms(error_shape=shape)) as pool:
        async with mining(pool) as rig:
            old = rig.jobs[-1]
            pool.on("mining.submit", faults.Refused(21, "Job not found"))
            await rig.mined(1)
            expected = Reason.OTHER if shape is ErrorShape.BARE else Reason.STALE
            assert rig.refused == [expected]
            rig.mine(1, old)
            await rig.until(lambda: len(rig.answers) == 2)
        assert rig.refused == [expected]


async def test_vardiff_is_followed_without_a_refusal() -> None:
    with VirtualPool(Terms(vardiff=Vardiff(interval_s=0.001, window=4, maximum=2.0**-20))) as pool:
        async with mining(pool) as rig:
            for _ in range(8):
                await rig.mined(8)
                jobs = len(rig.jobs)
                await asyncio.to_thread(pool.new_job)
                await rig.until(lambda jobs=jobs: len(rig.jobs) > jobs)
        assert rig.refused == []
        assert len({job.share_target for job in rig.jobs}) > 1


@pytest.mark.parametrize("resume", Resume)
async def test_a_lost_connection_comes_back_and_a_resumed_one_loses_no_share(resume: Resume) -> None:
    with VirtualPool(Terms(resume=resume)) as pool:
        async with mining(pool, haste=10.0) as rig:
            await rig.mined(4)
            pool.always("mining.submit", faults.Ignored())
            rig.mine(3)
            await asyncio.to_thread(pool.until, lambda model: len(model.requests("mining.submit")) >= 7)
            pool.heal()
            pool.do(lambda model: model.hang_up())
            await rig.until(lambda: rig.count(SourceUp) == 2 and len(rig.answers) == 7)
            lost = 0 if resume is Resume.SAME_EXTRANONCE else 3
            assert rig.refused == [Reason.UNANSWERED] * lost
            await rig.until(lambda: rig.at_work)
            assert (rig.jobs[-1].session == rig.jobs[0].session) is (resume is Resume.SAME_EXTRANONCE)
            await rig.mined(4)
        assert pool.account("me.rig").accepted == 11 - lost
        assert pool.violations() == {}


async def test_a_pool_that_is_killed_mid_share_and_comes_back_is_mined_again() -> None:
    pool = VirtualPool()
    with pool:
        async with mining(pool, haste=HASTE) as rig:
            pool.on("mining.submit", faults.Cut())
            rig.mine(1)
            await rig.until(lambda: rig.count(SourceDown) >= 1)
            await asyncio.to_thread(pool.stop)
            await rig.until(lambda: rig.count(SourceDown) >= 2)
            await asyncio.to_thread(pool.start)
            await rig.until(lambda: rig.count(SourceUp) >= 2 and rig.at_work and rig.answers)  # to the share of before
            await rig.mined(3)
            assert rig.refused == []
        assert pool.account("me.rig").accepted == 4


async def test_a_pool_that_closes_on_configure_is_mined_without() -> None:
    with VirtualPool() as pool:
        pool.always("mining.configure", faults.Close())
        async with mining(pool) as rig:
            await rig.mined(3)
            assert rig.refused == []
            assert rig.jobs[-1].version_mask == 0


async def test_a_source_whose_ticks_have_a_defect_ends_and_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("by design")

    with VirtualPool() as pool:
        source = StratumSource(options(pool), tick=0.01)
        monkeypatch.setattr(source._pool, "tick", fails)
        with pytest.raises(ExceptionGroup) as ended:
            await asyncio.wait_for(source.run(lambda _: None), PATIENCE_S)
    assert ended.group_contains(ZeroDivisionError)


async def test_after_a_defect_it_can_be_run_again_and_no_share_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("by design")

    with VirtualPool(Terms(resume=Resume.SAME_EXTRANONCE)) as pool:
        source = StratumSource(options(pool), tick=0.01)
        rig = Rig(source)
        pool.on("mining.submit", faults.Unanswered())

        async def stumble() -> None:
            await rig.until(lambda: rig.jobs)
            rig.mine(1)
            monkeypatch.setattr(source._pool, "tick", fails)

        with pytest.raises(ExceptionGroup):
            await asyncio.gather(source.run(rig.hear), stumble())
        monkeypatch.undo()
        again = asyncio.create_task(source.run(rig.hear))
        await rig.until(lambda: rig.answers and rig.count(SourceUp) == 2 and rig.at_work)
        await rig.mined(3)
        again.cancel()
        await asyncio.wait([again])
    assert rig.refused == []
    assert [event.reason for event in rig.events if isinstance(event, SourceDown)] == [
        "left: for a defect of this miner"
    ]


async def test_silence_ends_in_another_attempt() -> None:
    with VirtualPool() as pool:
        pool.on("mining.subscribe", faults.Unanswered())
        async with mining(pool, haste=HASTE, answer_s=5.0) as rig:
            assert rig.count(SourceDown) == 1
            await rig.mined(2)


async def test_a_flood_ends_in_another_attempt() -> None:
    with VirtualPool() as pool:
        pool.on("mining.notify", faults.Oversized())
        async with mining(pool, haste=HASTE) as rig:
            await rig.mined(2)
            assert rig.refused == []


async def test_a_refused_user_is_said_and_not_tried_again_at_once() -> None:
    with VirtualPool(Terms(users={"me": "x"})) as pool:
        async with mining(pool, first_job=False) as rig:
            await rig.until(lambda: rig.events)
            (down,) = rig.events
            assert isinstance(down, SourceDown)
            assert "not-authorized" in down.reason
            assert "secret" not in down.reason
            await asyncio.sleep(0.3)
            assert pool.do(lambda model: model.connections) == 1


async def test_a_redirection_to_another_port_of_the_same_host_is_followed_and_one_elsewhere_is_not() -> None:
    with VirtualPool() as first, VirtualPool() as second:
        async with mining(first) as rig:
            first.do(lambda model: model.notice("client.reconnect", ["127.0.0.2", second.port, 0]))
            first.do(lambda model: model.notice("client.reconnect", ["", second.port, 0]))
            await rig.until(lambda: rig.count(SourceUp) == 2 and rig.at_work)
            await rig.mined(3)
            assert second.account("me.rig").accepted == 3
            second.do(lambda model: model.hang_up())  # a fresh connection goes where the operator said
            await rig.until(lambda: rig.count(SourceUp) == 3)
            assert first.do(lambda model: model.connections) == 2


async def test_blocks_are_handed_in_as_blocks() -> None:
    with VirtualPool(Terms(nbits=0x207FFFFF)) as pool:
        async with mining(pool) as rig:
            job = rig.jobs[-1]
            rig.source.submit(share_of(job, block=True))
            await rig.until(lambda: rig.answers)
            assert [answer.block and answer.accepted for answer in rig.answers.values()] == [True]
        assert pool.account("me.rig").blocks == 1


async def test_drain_waits_for_answers_and_no_longer_than_it_may() -> None:
    with VirtualPool() as pool:
        async with mining(pool) as rig:
            pool.on("mining.submit", faults.Late(0.05))
            rig.mine(1)
            await rig.source.drain(PATIENCE_S)
            assert len(rig.answers) == 1
            pool.on("mining.submit", faults.Ignored())
            rig.mine(1)
            began = time.monotonic()
            await rig.source.drain(0.05)
            assert time.monotonic() - began < PATIENCE_S / 2
            assert len(rig.answers) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_pool_that_misbehaves_at_random_loses_no_share_and_gets_no_wrong_one(seed: int) -> None:
    rng = random.Random(seed)
    with VirtualPool(Terms(rolling=list(Rolling)[seed % 3])) as pool:
        async with mining(pool, haste=HASTE, silence_s=1e9) as rig:
            for _ in range(40):
                mischief = await asyncio.to_thread(pool.misbehave, rng)
                await asyncio.sleep(0.005)
                rig.mine(2)
                if mischief.ends:
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(pool.heal)
            await asyncio.to_thread(pool.do, lambda model: model.hang_up())
            ups = rig.count(SourceUp)
            await rig.until(lambda: rig.count(SourceUp) > ups and rig.at_work)
            await rig.source.drain(PATIENCE_S)
            await rig.until(lambda: len(rig.answers) == 80)
            before = len(rig.refused)
            await rig.mined(5)
            assert len(rig.refused) == before
        # What was rolled cannot be told where the next connection grants no rolling.
        assert set(rig.refused) <= {Reason.STALE, Reason.UNANSWERED, Reason.BAD_VERSION}
        honest = {Judged.STALE, Judged.UNKNOWN_JOB, Judged.DUPLICATE}  # of the last: the first answer was lost
        assert set(+pool.account("me.rig").rejected) <= honest
        assert pool.violations() == {}


@pytest.mark.parametrize("params", faults.BAD_JOBS.values(), ids=faults.BAD_JOBS)
async def test_no_bad_job_is_mined_and_the_next_good_one_is(params: Any) -> None:
    with VirtualPool() as pool:
        async with mining(pool) as rig:
            pool.on("mining.notify", faults.BadJob(params))
            await asyncio.to_thread(pool.new_job)
            good = await asyncio.to_thread(pool.new_job)
            await rig.until(lambda: rig.jobs[-1].key == good)
            assert all(job.key.isprintable() for job in rig.jobs)
            await rig.mined(2)
        assert rig.refused == []


# ---- TLS


async def test_tls_with_a_pinned_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with VirtualPool(tls=authority.server()) as pool:
        async with mining(pool, tls=Tls(ca_file=authority.ca_file)) as rig:
            await rig.mined(5)
        assert rig.refused == []


@pytest.mark.parametrize("flaw", ["unknown", "name", "expired"])
async def test_a_pool_that_cannot_prove_itself_gets_no_byte(tmp_path: Path, flaw: str) -> None:
    authority = Authority(tmp_path)
    server = {
        "unknown": authority.server,
        "name": lambda: authority.server("elsewhere.example"),
        "expired": lambda: authority.server(expired=True),
    }[flaw]()
    tls = Tls() if flaw == "unknown" else Tls(ca_file=authority.ca_file)
    with VirtualPool(tls=server) as pool:
        async with mining(pool, tls=tls, first_job=False) as rig:
            await rig.until(lambda: rig.events)
            (down,) = rig.events
            assert isinstance(down, SourceDown)
            assert "certificate" in down.reason
        assert pool.do(lambda model: list(model.heard_messages)) == []
        async with mining(pool, tls=Tls(insecure=True)) as rig:
            await rig.mined(1)


def test_a_certificate_file_that_is_none_is_a_persons_business(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(SourceMisconfigured, match=name):
            StratumSource(StratumOptions(host="a.b", port=1, user="me", tls=Tls(ca_file=tmp_path / name)))


# ---- check


async def test_check_tells_what_it_found() -> None:
    with VirtualPool() as pool:
        findings = "\n".join(await StratumSource(options(pool)).check())
    assert "the pool knows the user" in findings
    assert "version bits 1fffe000" in findings
    assert "at height 840001," in findings
    assert "its coinbase pays 1 script" in findings


async def test_check_says_why_a_coinbase_cannot_be_read() -> None:
    with VirtualPool(Terms.of_layout(Layout.WITNESS)) as pool:
        findings = "\n".join(await StratumSource(options(pool)).check())
    assert "at an unknown height," in findings
    assert "its coinbase cannot be read: it is written with a witness" in findings


@pytest.mark.parametrize(
    ("prepare", "error", "words"),
    [
        (lambda pool: pool.stop(), SourceUnreachable, "refused"),
        (lambda pool: pool.always("mining.authorize", faults.Refused(24, "no")), SourceMisbehaved, "not-authorized"),
        (lambda pool: pool.always("mining.subscribe", faults.Close()), SourceUnreachable, "closed"),
    ],
    ids=["down", "user", "closes"],
)
async def test_check_says_what_is_wrong(
    prepare: Callable[[VirtualPool], None], error: type[SourceError], words: str
) -> None:
    with VirtualPool() as pool:
        prepare(pool)
        with pytest.raises(error, match=words):
            await StratumSource(options(pool)).check()


@pytest.mark.parametrize("how", ["close", "error"])
async def test_check_goes_on_without_what_a_pool_hangs_up_on_and_says_so(how: str) -> None:
    with VirtualPool() as pool:
        pool.do(faults.HangsUpOn(frozenset({"version-rolling"}), how).install)
        findings = "\n".join(await StratumSource(options(pool)).check())
    assert "question_left_out: mining.configure version-rolling" in findings
    assert "no version rolling" in findings


# ---- options


@pytest.mark.parametrize(
    "changes",
    [
        {"user": ""},
        {"user": "x" * 256},
        {"user": "a\nb"},
        {"password": "\x1b"},
        {"user": "\u00e9" * 200},
        {"agent": "x" * 65},
        {"port": 0},
        {"host": ""},
        {"suggest_difficulty": 0.0},
        {"share_rate": 0.0},
        {"version_mask": -1},
        {"require_payout": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_no_pool_takes_is_refused_without_repeating_it(changes: dict[str, Any]) -> None:
    with pytest.raises(SourceMisconfigured) as error:
        StratumOptions(**({"host": "a.b", "port": 1, "user": "me", "password": "hunter2"} | changes))
    assert "hunter2" not in str(error.value)
