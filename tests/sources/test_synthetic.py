from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from backends.base import Hit
from miner.sources.base import Source, SourceMisconfigured
from miner.sources.synthetic import SyntheticChain, SyntheticOptions, SyntheticSource
from miner.work.events import Answered, Event, NewJob, SourceEvent, SourceUp
from miner.work.job import CoinbaseParts, Job
from miner.work.manager import Manager
from miner.work.share import Reason, Share
from tests.work.making import a_found

OPTIONS = SyntheticOptions(share_interval_s=16.0, shares_per_block=4, branch_length=3)
RATE_HPS = 1.0  # so that a share takes 16 hashes and a block 64


def a_share(job: Job, number: int = 1, *, block: bool = False) -> Share:
    """A right one, searched with what the miner itself would use."""
    assert isinstance(job.body, CoinbaseParts)
    extranonce2 = number.to_bytes(job.body.extranonce2_size, "little")
    work = replace(a_found(job, 0).hit.work, merkle_root=job.body.merkle_root(extranonce2))
    version = job.version | job.version_mask
    for nonce in range(100_000):
        hash_ = Hit(work, nonce, version, work.ntime).hash()
        is_block = hash_ <= job.network_target
        if hash_ <= job.share_target and is_block is block:
            return Share(
                id=number,
                job=job,
                device="cpu:0",
                extranonce2=extranonce2,
                nonce=nonce,
                version=version,
                ntime=work.ntime,
                hash=hash_,
                block=is_block,
                stale=False,
                found_at=0.0,
            )
    raise AssertionError("no such share")


@pytest.fixture
def chain() -> SyntheticChain:
    return SyntheticChain("synthetic:", OPTIONS)


def fields(event: NewJob) -> NewJob:
    return replace(event, job=replace(event.job, id=0))


def test_the_same_seed_makes_the_same_jobs() -> None:
    def jobs(seed: int) -> list[NewJob]:
        chain = SyntheticChain("synthetic:", replace(OPTIONS, seed=seed, replace_ratio=0.5))
        return [fields(chain.next_job(float(now), RATE_HPS)) for now in range(20)]

    assert jobs(1) == jobs(1) != jobs(2)


def test_jobs_are_a_mix_of_updates_and_replacements() -> None:
    chain = SyntheticChain("synthetic:", replace(OPTIONS, replace_ratio=0.25))
    events = [chain.next_job(0.0, RATE_HPS) for _ in range(400)]
    assert events[0].replace and 60 <= sum(event.replace for event in events) <= 140
    for before, after in itertools.pairwise(events):
        assert (before.job.prev_hash != after.job.prev_hash) is after.replace
    assert len({event.job.body for event in events}) == 400


def test_the_difficulty_is_chosen_so_that_a_share_takes_the_interval() -> None:
    for rate_hps in (1e6, 1e13):
        job = SyntheticChain("synthetic:", OPTIONS).next_job(0.0, rate_hps).job
        assert (1 << 256) / job.share_target == pytest.approx(rate_hps * 16.0)
        assert (1 << 256) / job.network_target == pytest.approx(rate_hps * 64.0, rel=0.01)


def test_timestamps_move_with_the_clock(chain: SyntheticChain) -> None:
    first, second = chain.next_job(5.0, RATE_HPS).job, chain.next_job(47.5, RATE_HPS).job
    assert second.ntime - first.ntime == 42 and second.ntime_limit - second.ntime == OPTIONS.ntime_roll_s


def test_a_payload_weighs_what_was_asked_for() -> None:
    chain = SyntheticChain("synthetic:", replace(OPTIONS, payload_bytes=1000))
    assert len(chain.next_job(0.0, RATE_HPS).job.payload) == 1000


def test_a_right_share_is_accepted_once(chain: SyntheticChain) -> None:
    share = a_share(chain.next_job(0.0, RATE_HPS).job)
    assert chain.judge(share).accepted
    assert chain.judge(share).reason is Reason.DUPLICATE


def test_a_block_is_answered_as_one(chain: SyntheticChain) -> None:
    answer = chain.judge(a_share(chain.next_job(0.0, RATE_HPS).job, block=True))
    assert answer.accepted and answer.block


def test_updates_leave_older_shares_good_and_replacements_do_not() -> None:
    chain = SyntheticChain("synthetic:", replace(OPTIONS, replace_ratio=0.0))
    share = a_share(chain.next_job(0.0, RATE_HPS).job)
    chain.next_job(1.0, RATE_HPS)
    assert chain.judge(share).accepted
    chain = SyntheticChain("synthetic:", replace(OPTIONS, replace_ratio=1.0))
    share = a_share(chain.next_job(0.0, RATE_HPS).job)
    chain.next_job(1.0, RATE_HPS)
    assert chain.judge(share).reason is Reason.STALE


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda share: replace(share, extranonce2=share.extranonce2 + b"x"), Reason.MALFORMED),
        (lambda share: replace(share, extranonce2=b"\0\0\0\7"), Reason.MALFORMED),
        (lambda share: replace(share, nonce=share.nonce ^ 1), Reason.MALFORMED),
        (lambda share: replace(share, ntime=share.ntime - 1), Reason.BAD_TIME),
        (lambda share: replace(share, ntime=share.job.ntime_limit + 1), Reason.BAD_TIME),
        (lambda share: replace(share, version=share.version ^ 1), Reason.BAD_VERSION),
        (lambda share: replace(share, job=replace(share.job, key="nonsense")), Reason.STALE),
    ],
)
def test_a_spoiled_share_is_refused_for_its_reason(
    chain: SyntheticChain, spoil: Callable[[Share], Share], reason: Reason
) -> None:
    answer = chain.judge(spoil(a_share(chain.next_job(0.0, RATE_HPS).job)))
    assert not answer.accepted and answer.reason is reason


def test_an_honest_hash_above_the_target_is_refused(chain: SyntheticChain) -> None:
    job = chain.next_job(0.0, RATE_HPS).job
    easy = replace(job, share_target=(1 << 256) - 1)
    share = next(share for number in range(50) if (share := a_share(easy, number)).hash > job.share_target)
    assert chain.judge(share).reason is Reason.LOW_DIFFICULTY


@pytest.mark.parametrize(
    "wrong",
    [{"replace_ratio": 1.5}, {"job_interval_s": 0.0}, {"extranonce2_size": 0}, {"version_mask": 1 << 29}],
    ids=str,
)
def test_options_that_cannot_be_are_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(SourceMisconfigured, match=next(iter(wrong))):
        SyntheticOptions(**wrong)  # type: ignore[arg-type]


def test_the_source_serves_a_manager_and_answers_what_it_submits() -> None:
    async def session() -> list[SourceEvent]:
        source: Source = SyntheticSource(options=OPTIONS, rate=lambda: RATE_HPS, clock=lambda: 0.0)
        manager, heard = Manager((source.name,)), list[SourceEvent]()
        arrived = asyncio.Event()

        def post(event: SourceEvent) -> None:
            heard.append(event)
            manager.handle(event, 0.0)
            if isinstance(event, NewJob):
                arrived.set()

        running = asyncio.create_task(source.run(post))
        await arrived.wait()
        assert manager.served is not None
        source.submit(a_share(manager.served))
        assert len(heard) == 2  # not from inside submit
        await source.drain(1.0)
        running.cancel()
        return heard

    up, job, answered = asyncio.run(session())
    assert isinstance(up, SourceUp) and isinstance(job, NewJob)
    assert isinstance(answered, Answered) and answered.answer.accepted


def test_every_connection_is_a_session_of_its_own() -> None:
    async def sessions() -> list[int]:
        source, heard = SyntheticSource(options=OPTIONS), list[Event]()
        for _ in range(2):
            running = asyncio.create_task(source.run(heard.append))
            await asyncio.sleep(0)
            running.cancel()
        return [event.job.session for event in heard if isinstance(event, NewJob)]

    assert asyncio.run(sessions()) == [1, 2]


def test_it_says_that_nothing_is_mined_for_anyone() -> None:
    (notice,) = asyncio.run(SyntheticSource().check())
    assert "nothing is mined for anyone" in notice
