from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from backends.base import TOP_WORD, Capability, Feed, Hit, Misuse, Verdict, Work
from miner.work import feed as feed_module
from miner.work.events import BlockDropped, Fate, Found
from miner.work.feed import DeviceFeed
from miner.work.job import Job, ReadyRoot
from miner.work.lease import Lease, Leases
from tests.work.making import EASY, HARD, a_device, a_job, coinbase, hits

PATIENCE_S = 20.0  # far more than any test needs; only a broken one waits that long
FOR_EVER_S = 1000.0

T = TypeVar("T")


class Bench:
    """A feed with a clock to turn and everything that crossed to the loop."""

    def __init__(self, *capabilities: Capability, expected_hps: float | None = 1e3) -> None:
        self.now = 0.0
        self.posted: list[Found] = []
        self.lost: list[BlockDropped] = []
        info = a_device("cpu:0", *capabilities, expected_hps=expected_hps)
        self.feed = DeviceFeed(info, Leases(), self.posted.append, clock=lambda: self.now, lost=self.lost.append)

    def work_on(self, job: Job) -> Work:
        self.feed.serve(job, replace=False)
        work = self.feed.take(0.0)
        assert work is not None
        return work

    def meanwhile(self, blocking: Callable[[], T], job: Job) -> T:
        """What a call that waits for something answers once this job is served."""
        answers: list[T] = []
        thread = threading.Thread(target=lambda: answers.append(blocking()), daemon=True)
        thread.start()
        while thread.is_alive() and not self.feed._changed._waiters:  # type: ignore[attr-defined]
            time.sleep(0)
        self.feed.serve(job, replace=True)
        thread.join(PATIENCE_S)
        assert answers, "nobody woke it"
        return answers[0]

    def count(self, verdict: Verdict) -> int:
        return self.feed.counts().of(verdict)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_it_is_a_feed(bench: Bench) -> None:
    feed: Feed = bench.feed
    assert feed.take(0.0) is None


def test_work_is_a_lease_on_the_served_job(bench: Bench) -> None:
    job = a_job()
    first, second = bench.work_on(job), bench.work_on(job)
    assert first.prev_hash == job.prev_hash and first.version == job.version and first.nbits == job.nbits
    assert second.id > first.id and second.merkle_root != first.merkle_root
    assert first.version_mask == 0 and first.ntime_span == 0


def test_what_a_device_cannot_roll_it_is_not_asked_to() -> None:
    able = Bench(Capability.ROLLS_VERSION, Capability.ROLLS_NTIME)
    work = able.work_on(a_job(roll=7))
    assert work.version_mask == 0x1FFFE000 and work.ntime_span == 7


def test_the_target_is_the_easiest_of_share_network_and_health(bench: Bench) -> None:
    health = (1 << 246) - 1  # of 1e3 hashes a second
    assert bench.work_on(a_job(share_target=EASY)).target == EASY
    assert bench.work_on(a_job(share_target=HARD, network_target=EASY)).target == EASY
    assert bench.work_on(a_job(share_target=HARD)).target == health


def test_the_health_target_follows_the_measured_rate_and_survives_a_pause() -> None:
    bench = Bench(expected_hps=None)
    work = bench.work_on(a_job(share_target=HARD))
    for _ in range(60):
        bench.now += 1.0
        bench.feed.worked(work, 10**12)
    fast = bench.work_on(a_job(share_target=HARD)).target
    assert 10**12 // 4 <= (1 << 256) // (fast + 1) <= 10**12 // 2
    bench.now += 7200.0
    assert bench.work_on(a_job(share_target=HARD)).target == fast


# ---- verdicts


def test_a_right_hit_is_good_and_crosses_with_all_that_a_share_needs(bench: Bench) -> None:
    job = a_job()
    work = bench.work_on(job)
    hit = hits(work, EASY)[0]
    assert bench.feed.found(hit) is Verdict.GOOD
    (found,) = bench.posted
    assert (found.device, found.hit, found.job, found.hash, found.stale) == ("cpu:0", hit, job, hit.hash(), False)
    assert job.body.merkle_root(found.extranonce2) == work.merkle_root  # type: ignore[union-attr]
    counts = bench.feed.counts()
    assert counts.of(Verdict.GOOD) == 1 and counts.proven == 16


def test_the_same_hit_again_is_a_duplicate(bench: Bench) -> None:
    hit = hits(bench.work_on(a_job()), EASY)[0]
    bench.feed.found(hit)
    assert bench.feed.found(hit) is Verdict.DUPLICATE
    assert len(bench.posted) == 1


def test_a_hash_above_everything_it_may_be_is_a_hardware_error(bench: Bench) -> None:
    hit = hits(bench.work_on(a_job()), (1 << 256) - 1, above=EASY)[0]
    assert bench.feed.found(hit) is Verdict.WRONG
    assert not bench.posted and bench.count(Verdict.WRONG) == 1


def test_a_hash_between_target_and_ticket_is_below_and_not_an_error(bench: Bench) -> None:
    ticket = (1 << 254) - 1
    hit = hits(bench.work_on(a_job()), ticket, above=EASY)[0]
    assert bench.feed.found(hit, ticket=ticket) is Verdict.BELOW
    assert not bench.posted


def test_a_device_may_compare_the_top_word_alone(bench: Bench) -> None:
    work = bench.work_on(a_job(share_target=(1 << 252) - 1))
    hit = hits(work, EASY)[0]
    top_word = hit.hash() >> 224
    strict = (top_word << 224) | (hit.hash() & TOP_WORD) - 1  # the same top word, and one less than the hash
    twin = bench.work_on(a_job(share_target=strict, body=ReadyRoot(work.merkle_root), ntime=work.ntime))
    assert twin.target == strict
    assert bench.feed.found(replace(hit, work=twin)) is Verdict.BELOW


def candidates(work: Work) -> list[Hit]:
    return [Hit(work, nonce, work.version, work.ntime) for nonce in range(1000)]


def test_a_hit_on_a_retired_job_is_stale_and_stays_here(bench: Bench) -> None:
    job = a_job()
    hit = hits(bench.work_on(job), EASY)[0]
    bench.feed.retire([job.id])
    assert bench.feed.found(hit) is Verdict.STALE
    assert bench.feed.found(hit) is Verdict.DUPLICATE
    assert not bench.posted


def test_a_block_on_a_retired_job_still_crosses(bench: Bench) -> None:
    job = a_job(network_target=EASY)
    hit = hits(bench.work_on(job), EASY)[0]
    bench.feed.retire([job.id])
    assert bench.feed.found(hit) is Verdict.STALE
    assert [found.stale for found in bench.posted] == [True]
    bench.feed.found(hit)
    assert len(bench.posted) == 1


def test_a_hash_equal_to_the_network_target_is_a_block_and_one_above_is_not(bench: Bench) -> None:
    hit = hits(bench.work_on(a_job()), EASY)[0]
    for network_target in (hit.hash(), hit.hash() - 1):
        job = a_job(body=ReadyRoot(hit.work.merkle_root), ntime=hit.ntime, network_target=network_target)
        twin = replace(hit, work=bench.work_on(job))
        bench.feed.retire([job.id])
        assert bench.feed.found(twin) is Verdict.STALE
        bench.feed._leases = Leases()  # the root may be leased once more
    assert [found.job.network_target for found in bench.posted] == [hit.hash()]


def test_a_hash_equal_to_the_work_s_target_is_good_and_one_above_is_below_it(bench: Bench) -> None:
    hit = hits(bench.work_on(a_job()), EASY)[0]
    for share_target, verdict in ((hit.hash(), Verdict.GOOD), (hit.hash() - 1, Verdict.BELOW)):
        job = a_job(body=ReadyRoot(hit.work.merkle_root), ntime=hit.ntime, share_target=share_target)
        work = bench.work_on(job)
        assert work.target == share_target
        assert bench.feed.found(replace(hit, work=work)) is verdict
        bench.feed._leases = Leases()  # the root may be leased once more


@pytest.mark.parametrize(
    "twist",
    [
        lambda hit: replace(hit, version=hit.version | 1 << 13),
        lambda hit: replace(hit, ntime=hit.ntime + 1),
        lambda hit: replace(hit, ntime=hit.ntime - 1),
        lambda hit: replace(hit, nonce=1 << 32),
        lambda hit: replace(hit, work=replace(hit.work, id=hit.work.id + 1_000_000)),
        lambda hit: replace(hit, work=replace(hit.work, target=(1 << 256) - 1)),
    ],
    ids=["version", "later", "earlier", "nonce", "unknown work", "forged work"],
)
def test_what_the_lease_does_not_cover_is_outside(bench: Bench, twist: object) -> None:
    hit = hits(bench.work_on(a_job()), EASY)[0]
    assert callable(twist)
    assert bench.feed.found(twist(hit)) is Verdict.OUTSIDE
    assert not bench.posted


def test_every_hit_is_counted_under_exactly_one_verdict(bench: Bench) -> None:
    work = bench.work_on(a_job())
    for hit in candidates(work):
        bench.feed.found(hit, ticket=(1 << 255) - 1)
    assert sum(bench.feed.counts().verdicts.values()) == 1000
    assert bench.count(Verdict.GOOD) == len(bench.posted) > 0


# ---- update, replace, idle


def test_an_update_lets_running_work_go_on_and_says_that_it_is_not_the_best(bench: Bench) -> None:
    work = bench.work_on(a_job())
    epoch = bench.feed.epoch
    assert bench.feed.fresh(work)
    newer = bench.work_on(a_job())
    assert bench.feed.epoch == epoch == work.epoch == newer.epoch
    assert not bench.feed.fresh(work) and bench.feed.fresh(newer)
    assert bench.feed.found(hits(work, EASY)[0]) is Verdict.GOOD


def test_a_replacement_and_idling_stop_running_work(bench: Bench) -> None:
    work = bench.work_on(a_job())
    bench.feed.serve(a_job(), replace=True)
    assert bench.feed.cancel[0] == bench.feed.epoch != work.epoch
    replacement = bench.feed.take(0.0)
    assert replacement is not None and replacement.epoch == bench.feed.epoch
    bench.feed.serve(None, replace=False)
    assert bench.feed.epoch != replacement.epoch
    assert bench.feed.take(0.0) is None and not bench.feed.busy


def test_an_interrupt_raises_the_epoch_and_leaves_the_lease_valid(bench: Bench) -> None:
    work = bench.work_on(a_job())
    bench.feed.interrupt()
    assert bench.feed.cancel[0] != work.epoch
    assert bench.feed.fresh(work)
    assert bench.feed.found(hits(work, EASY)[0]) is Verdict.GOOD
    assert bench.feed.take(0.0).epoch == bench.feed.epoch  # type: ignore[union-attr]


def test_the_epoch_is_32_bits_and_wraps(bench: Bench) -> None:
    bench.feed.cancel[0] = (1 << 32) - 1
    bench.feed.interrupt()
    assert bench.feed.epoch == 0
    assert bench.feed.cancel.shape == (1,)


def test_wait_returns_when_the_epoch_changes_and_not_before(bench: Bench) -> None:
    epoch = bench.feed.epoch
    assert not bench.feed.wait(epoch, 0.0)
    assert bench.meanwhile(lambda: bench.feed.wait(epoch, FOR_EVER_S), a_job()) is True


def test_take_waits_for_a_job(bench: Bench) -> None:
    assert bench.meanwhile(lambda: bench.feed.take(FOR_EVER_S), a_job()) is not None


def test_an_exhausted_job_gives_nothing_until_another_is_served(bench: Bench) -> None:
    job = a_job(body=ReadyRoot(b"r" * 32))
    bench.work_on(job)
    assert bench.feed.take(0.0) is None
    other = a_job(body=coinbase(b"other"), prev_hash=b"o" * 32)
    work = bench.meanwhile(lambda: bench.feed.take(FOR_EVER_S), other)
    assert work is not None and work.prev_hash == other.prev_hash


def test_whoever_looks_sees_that_the_device_waits_in_vain(bench: Bench) -> None:
    job = a_job(body=ReadyRoot(b"r" * 32))
    bench.work_on(job)
    assert bench.feed.exhausted is None
    bench.feed.take(0.0)
    assert bench.feed.exhausted == job.id
    bench.work_on(a_job(body=coinbase(b"other"), prev_hash=b"o" * 32))
    assert bench.feed.exhausted is None


def test_a_job_that_is_replaced_while_it_is_leased_from_gives_no_work() -> None:
    old, new = a_job(), a_job(prev_hash=b"o" * 32)

    class SlowLeases(Leases):
        def issue(
            self, job: Job, now: float, *, rolls_version: bool = False, rolls_ntime: bool = False
        ) -> Lease | None:
            feed.serve(new, replace=True)
            return super().issue(job, now, rolls_version=rolls_version, rolls_ntime=rolls_ntime)

    feed = DeviceFeed(a_device(), SlowLeases(), lambda _: None)
    feed.serve(old, replace=False)
    work = feed.take(0.0)
    assert work is not None and work.prev_hash == new.prev_hash and work.epoch == feed.epoch


# ---- bounds and sums


def test_dead_jobs_are_remembered_for_a_while_and_then_forgotten(bench: Bench) -> None:
    dead = []
    for number in range(feed_module.DEAD_JOBS + 1):
        job = a_job(body=coinbase(bytes([number])))
        dead.append(hits(bench.work_on(job), EASY)[0])
        bench.feed.retire([job.id, *range(10**9, 10**9 + 50)])  # jobs this device never saw take no room
    assert bench.feed.found(dead[0]) is Verdict.OUTSIDE
    assert [bench.feed.found(hit) for hit in dead[1:]] == [Verdict.STALE] * feed_module.DEAD_JOBS
    assert len(bench.feed._works) == len(bench.feed._leased) == feed_module.DEAD_JOBS


def test_a_block_of_a_forgotten_job_is_told_as_lost_and_a_lesser_hit_is_not(bench: Bench) -> None:
    job = replace(a_job(network_target=EASY // 4), height=840_000)
    work = bench.work_on(job)
    block, lesser = hits(work, EASY // 4)[0], hits(work, EASY, above=EASY // 4)[0]
    bench.feed.retire([job.id])
    for number in range(feed_module.DEAD_JOBS):
        newer = a_job(body=coinbase(bytes([number])))
        bench.work_on(newer)
        bench.feed.retire([newer.id])
    assert bench.feed.found(block) is bench.feed.found(lesser) is Verdict.OUTSIDE
    (told,) = bench.lost
    assert (told.fate, told.source, told.device) == (Fate.LOST, "pool", "cpu:0")
    assert (told.height, told.hash) == (840_000, block.hash())
    assert not bench.posted


def test_the_leases_and_hits_of_one_job_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "LIVE_WORKS", 20)
    monkeypatch.setattr(feed_module, "SEEN_HITS", 20)
    job = a_job(share_target=(1 << 256) - 1)
    oldest = bench.work_on(job)
    for _ in range(30):
        work = bench.work_on(job)
        for hit in candidates(work)[:3]:
            bench.feed.found(hit)
    assert len(bench.feed._works) == len(bench.feed._leased[job.id]) == 20
    assert len(bench.feed._seen) == 20
    assert bench.feed.found(candidates(oldest)[0]) is Verdict.OUTSIDE
    bench.feed.retire([job.id])
    for number in range(feed_module.DEAD_JOBS):
        other = a_job(body=coinbase(bytes([number])))
        bench.work_on(other)
        bench.feed.retire([other.id])
    assert len(bench.feed._works) == feed_module.DEAD_JOBS


def test_hashes_add_up_and_tell_how_many_hits_are_due(bench: Bench) -> None:
    work = bench.work_on(a_job())
    assert bench.feed.began is None and bench.feed.rate(10) is None and bench.feed.measured() is None
    bench.now = 4.0
    bench.feed.worked(work, 160)
    bench.feed.worked(work, 0)
    counts = bench.feed.counts()
    assert (counts.hashes, counts.due, bench.feed.began) == (160, 10.0, 4.0)
    assert bench.feed.rate(10) == 40.0
    bench.feed.found(hits(work, EASY)[0])
    measured = bench.feed.measured()
    assert measured is not None and measured.hps == 4.0


def test_hashes_are_counted_for_whose_lease_it_was_though_it_is_long_dead(bench: Bench) -> None:
    first = bench.work_on(a_job(source="pool"))
    bench.feed.worked(first, 100)
    second = bench.work_on(a_job(source="spare", body=coinbase(b"2")))
    bench.feed.worked(second, 30)
    for number in range(20):
        work = bench.work_on(job := a_job(source="spare", body=coinbase(bytes([number]))))
        bench.feed.retire([job.id])
        bench.feed.worked(work, 1)
    bench.feed.worked(first, 5)
    assert bench.feed.hashes_for() == {"pool": 105, "spare": 50}


def test_a_driver_that_takes_hashes_back_is_refused(bench: Bench) -> None:
    with pytest.raises(Misuse):
        bench.feed.worked(bench.work_on(a_job()), -1)


def test_a_post_that_fails_fails_in_the_device_and_locks_nothing() -> None:
    def closed(_: Found) -> None:
        raise RuntimeError("loop is closed")

    feed = DeviceFeed(a_device(), Leases(), closed)
    feed.serve(a_job(), replace=False)
    work = feed.take(0.0)
    assert work is not None
    with pytest.raises(RuntimeError):
        feed.found(hits(work, EASY)[0])
    assert feed.take(0.0) is not None and feed.counts().of(Verdict.GOOD) == 1


# ---- work that is staged before the old is given up


class Stage:
    """A device that stages: takes note, and work."""

    def __init__(self, feed: DeviceFeed) -> None:
        self.feed = feed
        self.seen: list[tuple[int, int, Work | None]] = []  # the epoch to be, the epoch then, what was to be had

    def __call__(self, epoch: int) -> None:
        self.seen.append((epoch, self.feed.epoch, self.feed.take(0.0)))


def test_work_is_staged_for_the_epoch_that_drops_the_old_from_the_job_that_is_new(bench: Bench) -> None:
    stage, old = Stage(bench.feed), bench.work_on(a_job())
    bench.feed.before_replacing(stage)
    before, new = bench.feed.epoch, a_job(prev_hash=bytes(32))
    bench.feed.serve(new, replace=True)
    ((epoch, epoch_then, work),) = stage.seen
    assert (epoch, epoch_then) == (before + 1, before)
    assert work is not None
    assert bench.feed.epoch == epoch == work.epoch
    assert work.prev_hash == bytes(32) and bench.feed.fresh(work)
    assert not bench.feed.fresh(old)
    assert bench.feed.found(hits(work, work.target)[0]) is Verdict.GOOD
    bench.feed.worked(work, 7)
    assert bench.feed.hashes_for() == {"pool": 7}


def test_nothing_is_staged_for_an_update_nor_for_idling_nor_for_whoever_has_had_enough(bench: Bench) -> None:
    stage = Stage(bench.feed)
    bench.feed.before_replacing(stage)
    bench.feed.serve(a_job(), replace=False)
    bench.feed.serve(None, replace=True)
    bench.feed.before_replacing(None)
    bench.feed.serve(a_job(), replace=True)
    assert not stage.seen


def test_of_an_exhausted_job_nothing_is_staged_and_it_is_served_all_the_same(bench: Bench) -> None:
    stage, body = Stage(bench.feed), ReadyRoot(bytes(32))
    bench.work_on(a_job(body=body))
    bench.feed.before_replacing(stage)
    before = bench.feed.epoch
    bench.feed.serve(a_job(body=body), replace=True)
    assert [work for _, _, work in stage.seen] == [None]
    assert bench.feed.epoch == before + 1


def test_an_interrupt_waits_until_the_staged_epoch_has_come(bench: Bench) -> None:
    """Or else a kernel would go on with staged work although it was told to look up."""
    interrupting = threading.Thread(target=bench.feed.interrupt, daemon=True)

    def stage(epoch: int) -> None:
        interrupting.start()
        for _ in range(500):
            assert bench.feed.take(0.0) is None
        interrupting.join(0.05)
        staged.append((epoch, bench.feed.epoch))

    staged: list[tuple[int, int]] = []
    exhausted = ReadyRoot(bytes(32))
    bench.work_on(a_job(body=exhausted))
    before = bench.feed.epoch
    bench.feed.before_replacing(stage)
    bench.feed.serve(a_job(body=exhausted), replace=True)
    interrupting.join(PATIENCE_S)
    assert staged == [(before + 1, before)]
    assert bench.feed.epoch == before + 2


def test_a_device_that_fails_to_stage_is_not_asked_again_and_served_all_the_same(bench: Bench) -> None:
    calls: list[int] = []

    def stage(epoch: int) -> None:
        calls.append(epoch)
        raise RuntimeError("a defect")

    bench.feed.before_replacing(stage)
    before = bench.feed.epoch
    for job in (a_job(), a_job()):
        bench.feed.serve(job, replace=True)
    assert calls == [before + 1]
    assert bench.feed.epoch == before + 2
    assert bench.feed.take(0.0) is not None
