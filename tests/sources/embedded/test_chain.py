from __future__ import annotations

import random
from dataclasses import replace
from statistics import fmean

import pytest

from miner.sources.consensus import Ruling, Tip
from miner.sources.embedded.chain import LIVE_JOBS, Extended, Handed, PrivateChain, Put, Rated, Ruled
from miner.sources.embedded.pacing import paced_target
from miner.work.events import Answered, NewJob
from miner.work.job import Job
from miner.work.share import Answer, Reason, Share
from tests.sources.embedded.search import share_of, solve

NOW, WALL = 50.0, 1_700_000_000.0


def tip_at(height: int, *, median_time_past: int = 0) -> Tip:
    return Tip(bytes([height % 256]) * 32, height, median_time_past, median_time_past)


def new_chain(*, interval_s: float = 5.0, assumed_hps: float = 10.0, session: int = 1) -> PrivateChain:
    return PrivateChain(
        source="embedded", session=session, payout_script=b"\x51", interval_s=interval_s, assumed_hps=assumed_hps
    )


def job_of(effects: list[object], *, replaces: bool) -> Job:
    (effect,) = effects
    assert isinstance(effect, NewJob) and effect.replace is replaces
    return effect.job


def first_job(chain: PrivateChain, height: int = 0) -> Job:
    return job_of([*chain.handle(Extended(tip_at(height), WALL), NOW)], replaces=True)


def answer_to(chain: PrivateChain, share: Share) -> Answer:
    (effect,) = chain.handle(Handed(share), NOW)
    assert isinstance(effect, Answered)
    return effect.answer


def win(chain: PrivateChain, share: Share) -> Answer:
    (put,) = chain.handle(Handed(share), NOW)
    assert isinstance(put, Put)
    (answered,) = chain.handle(Ruled(share, Ruling()), NOW)
    assert isinstance(answered, Answered)
    return answered.answer


# ---- jobs


def test_a_new_tip_makes_a_job_on_it_that_replaces_all_others() -> None:
    chain = new_chain(interval_s=5, assumed_hps=10)
    job = first_job(chain)
    assert job.prev_hash == tip_at(0).hash and job.height == 1
    assert (job.version, job.version_mask, job.nbits) == (0x20000000, 0x1FFFE000, 0x207FFFFF)
    assert job.share_target == job.network_target == paced_target(10, 5)
    assert (job.source, job.arrived) == ("embedded", NOW)
    later = first_job(chain, height=1)
    assert later.prev_hash == tip_at(1).hash and later.key != job.key


def test_ntime_is_the_wall_clock_unless_the_chain_is_ahead_of_it() -> None:
    chain = new_chain()
    job = first_job(chain)
    assert (job.ntime, job.ntime_limit) == (WALL, WALL + 600)
    (ahead,) = chain.handle(Extended(tip_at(1, median_time_past=int(WALL) + 1000), WALL), NOW)
    assert isinstance(ahead, NewJob)
    assert (ahead.job.ntime, ahead.job.ntime_limit) == (WALL + 1001, WALL + 1001)


def test_a_rate_within_a_quarter_of_the_assumed_one_changes_nothing() -> None:
    chain = new_chain(assumed_hps=1000)
    first_job(chain)
    for rate in (None, 0.0, 1000.0, 1240.0, 810.0):
        assert chain.handle(Rated(rate, WALL), NOW) == []


def test_a_rate_far_from_the_assumed_one_updates_the_target_once_and_older_work_stays_good() -> None:
    chain = new_chain(assumed_hps=10, interval_s=5)
    old = first_job(chain)
    new = job_of([*chain.handle(Rated(13.0, WALL), NOW)], replaces=False)
    assert new.network_target == new.share_target == paced_target(13, 5)
    assert old.network_target == paced_target(10, 5)
    assert new.prev_hash == old.prev_hash and new.height == old.height
    assert chain.handle(Rated(13.0, WALL), NOW) == []
    assert win(chain, solve(old)).accepted


def test_a_share_of_an_old_job_is_held_to_its_own_target() -> None:
    chain = new_chain(assumed_hps=1, interval_s=10)
    easy = first_job(chain)
    hard = job_of([*chain.handle(Rated(1e6, WALL), NOW)], replaces=False)
    share = solve(easy)
    assert share.hash > hard.network_target
    assert answer_to(chain, replace(share, job=hard)).reason is Reason.MALFORMED
    assert win(chain, share).accepted


def test_the_rate_that_was_known_last_paces_the_next_block() -> None:
    chain = new_chain(assumed_hps=1000, interval_s=5)
    first_job(chain)
    chain.handle(Rated(1100.0, WALL), NOW)  # not worth an update
    chain.handle(Rated(None, WALL), NOW)
    assert first_job(chain, height=1).network_target == paced_target(1100, 5)


def test_only_so_many_updates_stay_good_on_one_tip() -> None:
    chain = new_chain(assumed_hps=1, interval_s=2)
    kept = oldest = first_job(chain)
    rate = 1.0
    for _ in range(LIVE_JOBS):
        rate *= 1.3
        kept = job_of([*chain.handle(Rated(rate, WALL), NOW)], replaces=False)
    assert answer_to(chain, solve(oldest)).reason is Reason.STALE
    assert win(chain, solve(kept)).accepted


# ---- shares


def test_a_share_of_the_tip_goes_to_the_judge_and_its_ruling_is_the_answer() -> None:
    chain = new_chain()
    share = solve(first_job(chain))
    (put,) = chain.handle(Handed(share), NOW)
    assert isinstance(put, Put) and put.share == share
    assert chain.handle(Ruled(share, Ruling()), NOW) == [
        Answered("embedded", Answer(share.id, accepted=True, block=True))
    ]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("high-hash", Reason.LOW_DIFFICULTY),
        ("time-too-new", Reason.BAD_TIME),
        ("bad-version(0x00000001)", Reason.BAD_VERSION),
        ("bad-cb-amount", Reason.MALFORMED),
        ("inconclusive", Reason.STALE),
        ("what is this", Reason.OTHER),
    ],
)
def test_what_the_judge_refuses_is_a_rejected_block_in_its_words(reason: str, expected: Reason) -> None:
    chain = new_chain()
    share = solve(first_job(chain))
    chain.handle(Handed(share), NOW)
    (answered,) = chain.handle(Ruled(share, Ruling(reason, "because " * 100)), NOW)
    assert isinstance(answered, Answered)
    answer = answered.answer
    assert (answer.accepted, answer.block, answer.reason) == (False, True, expected)
    assert answer.text.startswith(f"{reason}, because") and len(answer.text) <= 200


def test_a_share_on_an_old_tip_is_stale() -> None:
    chain = new_chain()
    late = solve(first_job(chain))
    first_job(chain, height=1)
    answer = answer_to(chain, late)
    assert (answer.accepted, answer.block, answer.reason) == (False, False, Reason.STALE)


def test_a_share_of_an_earlier_session_is_stale_though_its_key_lives() -> None:
    late = solve(first_job(new_chain(session=1)))
    chain = new_chain(session=2)
    assert first_job(chain).key == late.job.key
    assert answer_to(chain, late).reason is Reason.STALE


def test_a_share_that_won_already_is_a_duplicate_even_on_the_next_tip() -> None:
    chain = new_chain()
    share = solve(first_job(chain))
    assert win(chain, share).accepted
    assert answer_to(chain, share).reason is Reason.DUPLICATE
    first_job(chain, height=1)
    assert answer_to(chain, share).reason is Reason.DUPLICATE


def unsound(job: Job) -> dict[str, Share]:
    good = solve(job)
    miss = next(share for nonce in range(1000) if not (share := share_of(job, nonce)).block)
    early = share_of(replace(job, ntime=job.ntime - 1))
    rolled = solve(replace(job, network_target=job.network_target), version=job.version | 1)
    return {
        "another nonce": replace(good, nonce=good.nonce + 1),
        "another hash": replace(good, hash=good.hash - 1),
        "another extranonce": replace(good, extranonce2=b"\1" * 8),
        "a short extranonce": replace(good, extranonce2=bytes(7)),
        "another ntime": replace(good, ntime=good.ntime + 1),
        "ntime before the job's": replace(solve(early.job), job=job),
        "ntime after the job's": replace(solve(replace(job, ntime=job.ntime_limit + 1)), job=job),
        "a version rolled outside of the mask": rolled,
        "a nonce of 33 bits": replace(good, nonce=1 << 32),
        "a hash above the target": miss,
    }


@pytest.mark.parametrize("kind", unsound(first_job(new_chain())))
def test_a_share_that_the_second_computation_does_not_confirm_is_malformed_and_goes_nowhere(kind: str) -> None:
    chain = new_chain()
    job = first_job(chain)
    answer = answer_to(chain, unsound(job)[kind])
    assert (answer.accepted, answer.block, answer.reason) == (False, False, Reason.MALFORMED), answer.text
    assert win(chain, solve(job)).accepted


def test_extranonce_and_rolled_version_bits_are_part_of_a_good_share() -> None:
    job = first_job(chain := new_chain())
    share = solve(job, extranonce2=b"\7" * 8, version=job.version | 0x1FFFE000)
    assert win(chain, share).accepted


# ---- pacing over hours


def simulated_intervals(rates: list[tuple[float, float]], *, interval_s: float, assumed_hps: float) -> list[float]:
    """Seconds between blocks for a miner whose true rate runs through `rates`: (hashes a second, for how long).

    The rate is looked at once a second with 3 % of noise; a search succeeds by chance, as often as the target says.
    """
    draw = random.Random(1)
    chain = new_chain(interval_s=interval_s, assumed_hps=assumed_hps)
    now, height, began = 0.0, 0, 0.0
    target = first_job(chain).network_target
    intervals = []
    for rate, length in rates:
        end = now + length
        while now < end:
            within = draw.expovariate(rate * (target + 1) / 2**256)
            if within < 1.0:
                now += within
                intervals.append(now - began)
                began, height = now, height + 1
                (effect,) = chain.handle(Extended(tip_at(height), WALL + now), now)
                assert isinstance(effect, NewJob)
                target = effect.job.network_target
                continue
            now += 1.0
            for effect in chain.handle(Rated(draw.gauss(rate, rate * 0.03), WALL + now), now):
                assert isinstance(effect, NewJob)
                target = effect.job.network_target
    return intervals


@pytest.mark.parametrize("rate", [1e6, 5e8, 1e14], ids=["1 MH/s", "500 MH/s", "100 TH/s"])
def test_blocks_come_at_the_interval_whatever_the_rate(rate: float) -> None:
    intervals = simulated_intervals([(rate, 8000.0)], interval_s=5.0, assumed_hps=rate / 3)
    assert fmean(intervals[10:]) == pytest.approx(5.0, rel=0.06)


def test_blocks_come_at_the_interval_again_after_half_of_the_devices_left_and_after_ten_times_as_many_came() -> None:
    steps = [(1e8, 4000.0), (5e7, 4000.0), (1e9, 4000.0)]
    intervals = simulated_intervals(steps, interval_s=5.0, assumed_hps=1e8)
    assert len(intervals) == pytest.approx(2400, rel=0.06)
    assert max(intervals) < 70


def test_a_rate_assumed_far_too_high_does_not_keep_the_first_block_waiting() -> None:
    first, *_ = simulated_intervals([(1e6, 1000.0)], interval_s=5.0, assumed_hps=1e12)
    assert first < 40
