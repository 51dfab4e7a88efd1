from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from miner.chain.target import DIFFICULTY_ONE
from miner.work import outbox as outbox_module
from miner.work.account import Account
from miner.work.bare import FIRST_PAUSE_S
from miner.work.errors import UnknownSource
from miner.work.events import (
    Answered,
    BlockDropped,
    Distrust,
    Effect,
    Event,
    Fate,
    Finish,
    MiningBegan,
    NewJob,
    Retire,
    Serve,
    SourceDown,
    SourceFailed,
    SourceUp,
    Submit,
    Tick,
    Trust,
)
from miner.work.job import Job
from miner.work.limits import Limits
from miner.work.manager import EXHAUSTED_S, GRACE_S, LIVE_JOBS, REST_S, Manager
from miner.work.outbox import ANSWER_S, BLOCK_S, DOUBT_S
from miner.work.share import Answer, Reason, Share
from miner.work.strategy import Candidate, first_ready
from miner.work.tips import BEHIND_S
from tests.work.making import EASY, HARD, a_found, a_job

OTHER_PREV = b"o" * 32


class Desk:
    """A manager, with a clock, over the sources `pool` and `spare`."""

    def __init__(self, *names: str, limits: Limits | None = None) -> None:
        self.manager = Manager(names or ("pool", "spare"), limits)
        self.now = 0.0

    def __call__(self, event: Event, now: float | None = None) -> list[Effect]:
        self.now = self.now if now is None else now
        return self.manager.handle(event, self.now)

    def up(self, source: str = "pool", job: Job | None = None) -> Job:
        job = job or a_job(source=source)
        self(SourceUp(source))
        self(NewJob(job, replace=True))
        return job

    def share(self, job: Job, nonce: int = 0, hash_: int = EASY) -> Share:
        (submit,) = [effect for effect in self(a_found(job, hash_, nonce)) if isinstance(effect, Submit)]
        return submit.share

    def answer(self, share: Share, reason: Reason | None = None, now: float | None = None) -> list[Effect]:
        answer = Answer(share.id, accepted=reason is None, block=share.block, reason=reason)
        return self(Answered(share.job.source, answer), now)

    def account(self, source: str = "pool") -> Account:
        return next(standing.account for standing in self.manager.standings if standing.name == source)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def drops(effects: Sequence[Effect]) -> list[BlockDropped]:
    return [effect for effect in effects if isinstance(effect, BlockDropped)]


def fates(effects: Sequence[Effect]) -> list[Fate]:
    """What became of blocks, where nothing else was to be done."""
    assert not any(isinstance(effect, Submit) for effect in effects)
    return [effect.fate for effect in drops(effects)]


# ---- what is served


def test_nothing_is_served_before_a_source_is_up_and_has_sent_a_job(desk: Desk) -> None:
    job = a_job()
    assert desk(SourceUp("pool")) == []
    assert desk(NewJob(job, replace=False)) == [Serve(job, replace=True)]
    early = a_job(source="spare")
    other = Desk()
    assert other(NewJob(early, replace=True)) == []
    assert other(SourceUp("spare")) == [Serve(early, replace=True)]


def test_an_update_leaves_older_work_alive(desk: Desk) -> None:
    old, new = desk.up(), a_job()
    assert desk(NewJob(new, replace=False)) == [Serve(new, replace=False)]
    assert desk.share(old).stale is False


def test_a_replacement_kills_everything_older_of_its_source(desk: Desk) -> None:
    old, older, new = desk.up(), a_job(), a_job()
    desk(NewJob(older, replace=False))
    assert desk(NewJob(new, replace=True)) == [Serve(new, replace=True), Retire((old.id, older.id))]


def test_a_changed_previous_block_is_a_replacement_whatever_the_source_says(desk: Desk) -> None:
    old, new = desk.up(), a_job(prev_hash=OTHER_PREV)
    assert desk(NewJob(new, replace=False)) == [Serve(new, replace=True), Retire((old.id,))]


def test_a_new_session_kills_the_jobs_of_the_one_before(desk: Desk) -> None:
    old = desk.up()
    desk(SourceDown("pool", "reset"), 1.0)
    assert desk(SourceUp("pool")) == []
    new = a_job(session=2)
    assert desk(NewJob(new, replace=False)) == [Serve(new, replace=True), Retire((old.id,))]
    assert desk(NewJob(a_job(session=1), replace=False)) == []  # a straggler of the first


def test_a_resumed_session_keeps_its_jobs(desk: Desk) -> None:
    old = desk.up()
    desk(SourceDown("pool", "reset"), 1.0)
    desk(SourceUp("pool"), 2.0)
    new = a_job()
    assert desk(NewJob(new, replace=False)) == [Serve(new, replace=False)]
    assert desk.share(old)


def test_the_same_job_twice_changes_nothing(desk: Desk) -> None:
    job = desk.up()
    assert desk(NewJob(job, replace=True)) == []
    assert desk.share(job)


def test_the_table_of_live_jobs_is_bounded_and_the_oldest_goes(desk: Desk) -> None:
    jobs = [desk.up(), *(a_job() for _ in range(LIVE_JOBS))]
    for job in jobs[1:LIVE_JOBS]:
        assert desk(NewJob(job, replace=False)) == [Serve(job, replace=False)]
    assert desk(NewJob(jobs[-1], replace=False)) == [Serve(jobs[-1], replace=False), Retire((jobs[0].id,))]


def test_the_first_configured_source_that_is_up_is_mined_on(desk: Desk) -> None:
    spare = desk.up("spare")
    assert desk.manager.served is spare
    desk(SourceUp("pool"))
    assert desk.manager.served is spare  # until the better one has something to do
    job = a_job()
    assert desk(NewJob(job, replace=True)) == [Serve(job, replace=False)]  # the spare is up: finish its work
    update = a_job(source="spare")
    assert desk(NewJob(update, replace=True)) == [Retire((spare.id,))]
    assert desk(SourceDown("pool", "reset")) == [Serve(update, replace=True)]


def test_the_last_job_of_a_lost_source_is_worked_on_for_a_while_and_then_nothing(desk: Desk) -> None:
    job = desk.up()
    assert desk(SourceDown("pool", "time-out"), 100.0) == []
    assert desk(SourceDown("pool", "still"), 110.0) == []
    assert desk(Tick(), 100.0 + GRACE_S - 0.1) == []
    assert desk.share(job)
    assert desk(Tick(), 100.0 + GRACE_S) == [Serve(None, replace=True)]
    assert desk.manager.served is None


def test_a_source_that_is_back_is_waited_for_no_longer_than_one_that_is_not(desk: Desk) -> None:
    desk.up()
    desk(SourceDown("pool", "reset"), 100.0)
    desk(SourceUp("pool"), 101.0)
    assert desk(Tick(), 100.0 + GRACE_S) == [Serve(None, replace=True)]


def test_a_source_that_gave_up_is_not_waited_for(desk: Desk) -> None:
    job = desk.up()
    assert desk(SourceFailed("pool", "wrong password")) == [Serve(None, replace=True), Retire((job.id,))]
    assert desk.manager.standings[0].failed == "wrong password"


def test_a_source_whose_job_has_no_headers_left_gives_way_until_it_sends_another(desk: Desk) -> None:
    barren, spare = desk.up(), desk.up("spare")
    starving = Tick(exhausted=frozenset({barren.id}))
    assert desk(starving, 10.0) == []
    assert desk(starving, 10.0 + EXHAUSTED_S) == [Serve(spare, replace=False)]
    assert desk(Tick(), 20.0) == []
    fresh = a_job()
    assert desk(NewJob(fresh, replace=False), 21.0) == [Serve(fresh, replace=False)]


def test_a_source_that_was_left_for_its_exhausted_job_is_tried_again_after_a_rest(desk: Desk) -> None:
    barren, spare = desk.up(), desk.up("spare")
    starving = Tick(exhausted=frozenset({barren.id}))
    for turn in (0.0, 100.0):
        assert desk(starving, turn) == []
        assert desk(starving, turn + EXHAUSTED_S) == [Serve(spare, replace=False)]
        assert desk(Tick(), turn + REST_S) == []
        assert desk(Tick(), turn + EXHAUSTED_S + REST_S) == [Serve(barren, replace=False)]


def test_a_job_that_time_gives_new_headers_in_time_is_not_left(desk: Desk) -> None:
    job, _ = desk.up(), desk.up("spare")
    for second in range(20):
        starved = frozenset({job.id}) if second % 2 else frozenset[int]()
        assert desk(Tick(exhausted=starved), float(second)) == []


def test_where_nobody_has_headers_left_the_preferred_source_is_waited_on(desk: Desk) -> None:
    first, second = desk.up(), desk.up("spare")
    everybody = Tick(exhausted=frozenset({first.id, second.id}))
    served = {desk.manager.served for at in range(40) if desk(everybody, at / 2.0) is not None}
    assert served == {first, second}
    assert desk.manager.served is first


def test_a_source_that_another_left_behind_gives_way_until_it_follows(desk: Desk) -> None:
    stuck, _ = desk.up(), desk.up("spare")
    fresh = a_job(source="spare", prev_hash=OTHER_PREV)
    assert Serve not in map(type, desk(NewJob(fresh, replace=True), 10.0))
    assert desk(Tick(), 10.0 + BEHIND_S - 0.1) == []
    assert desk(Tick(), 10.0 + BEHIND_S) == [Serve(fresh, replace=False)]
    assert [standing.behind for standing in desk.manager.standings] == [True, False]
    still = a_job(prev_hash=stuck.prev_hash)
    assert Serve not in map(type, desk(NewJob(still, replace=True), 200.0))
    follows = a_job(prev_hash=OTHER_PREV)
    assert desk(NewJob(follows, replace=True), 300.0)[0] == Serve(follows, replace=False)
    assert not any(standing.behind for standing in desk.manager.standings)


def test_a_source_that_is_behind_is_mined_where_there_is_no_other(desk: Desk) -> None:
    stuck, _ = desk.up(), desk.up("spare")
    desk(NewJob(a_job(source="spare", prev_hash=OTHER_PREV), replace=True), 10.0)
    desk(SourceDown("spare", "cut"), 20.0)
    assert desk(Tick(), 1000.0) == []
    assert desk.manager.served is stuck


def test_at_the_end_what_was_not_answered_is_booked_as_such_but_for_blocks(desk: Desk) -> None:
    job = desk.up("pool", a_job(network_target=EASY // 2))
    desk.share(job, 1, EASY)
    block = desk.share(job, 2, EASY // 4)
    desk.manager.close()
    assert list(desk.manager.pending) == [block.id]
    assert desk.account().rejected == {Reason.UNANSWERED: 1}


def test_another_strategy_chooses_otherwise() -> None:
    last = Manager(
        ("pool", "spare"), strategy=lambda candidates, _: next((c.name for c in candidates[::-1] if c.ready), None)
    )
    jobs = [a_job(source=name) for name in ("pool", "spare")]
    for job in jobs:
        last.handle(SourceUp(job.source), 0.0)
        last.handle(NewJob(job, replace=True), 0.0)
    assert last.served is jobs[1]


def test_sources_are_taken_in_and_out_while_mining_goes_on() -> None:
    desk = Desk("pool", "spare", limits=Limits(shares=2))
    pool, spare = desk.up(), desk.up("spare")
    accepted, waiting = desk.share(pool, 1), desk.share(pool, 2)
    desk.answer(accepted)
    assert desk.manager.choose_among(("new", "spare"), 5.0) == [Serve(spare, replace=False)]
    assert waiting.id in desk.manager.pending  # it is leaving, and may still answer
    assert desk.manager.dismiss("pool", 6.0) == [Retire((pool.id,))]
    assert waiting.id not in desk.manager.pending
    standings = [(standing.name, standing.present) for standing in desk.manager.standings]
    assert standings == [("new", True), ("spare", True), ("pool", False)]
    assert [type(effect) for effect in desk.answer(desk.share(spare))] == [Finish]  # what was accepted stays so
    desk.manager.choose_among(("pool",), 7.0)
    account = desk.account("pool")
    assert (account.submitted, account.accepted, account.rejected) == (2, 1, {Reason.UNANSWERED: 1})


def test_a_source_that_comes_back_under_its_name_begins_its_sessions_anew() -> None:
    desk = Desk("pool")
    old = desk.up(job=a_job(session=7))
    desk.manager.choose_among((), 1.0)
    assert desk.manager.served is old  # better than nothing, as long as its source is there
    assert desk.manager.dismiss("pool", 2.0)[0] == Serve(None, replace=True)
    desk.manager.choose_among(("pool",), 3.0)
    fresh = desk.up(job=a_job(session=1))
    assert desk.manager.served is fresh


def test_a_block_that_a_dismissed_source_never_answered_bars_no_other() -> None:
    desk = Desk("pool")
    desk.share(desk.up(job=a_job(network_target=EASY)))
    desk.manager.choose_among((), 1.0)
    desk.manager.dismiss("pool", 1.0)
    desk.manager.choose_among(("pool",), 2.0)
    assert desk.share(desk.up(job=a_job(network_target=EASY)), 2).block


def test_a_source_that_stays_keeps_its_jobs(desk: Desk) -> None:
    job = desk.up()
    assert desk.manager.choose_among(("fresh", "pool"), 5.0) == []
    assert desk.manager.served is job and desk.share(job)


def test_an_unknown_source_is_a_defect(desk: Desk) -> None:
    with pytest.raises(UnknownSource):
        desk(SourceUp("nobody"))


# ---- what is sent


def test_a_hit_below_neither_target_only_proves_health(desk: Desk) -> None:
    job = desk.up()
    assert desk(a_found(job, EASY + 1)) == []
    assert desk.account().submitted == 0 and desk.manager.shares_of("cpu:0") == 0


def test_a_share_carries_the_fields_as_they_will_be_submitted(desk: Desk) -> None:
    job = desk.up()
    share = desk.share(job, nonce=77)
    assert (share.job, share.device, share.extranonce2, share.nonce) == (job, "cpu:0", b"\0\0\0\0", 77)
    assert (share.version, share.ntime, share.hash) == (job.version, job.ntime, EASY)
    assert (share.block, share.stale) == (False, False)
    assert desk.manager.shares_of("cpu:0") == 1


def test_a_hash_equal_to_the_network_target_is_a_block(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=1000))
    assert desk.share(job, 1, 1000).block
    assert not desk.share(job, 2, 1001).block


def test_a_block_is_sent_even_where_the_share_target_is_harder(desk: Desk) -> None:
    job = desk.up(job=a_job(share_target=HARD, network_target=EASY))
    assert desk.share(job, 1, EASY).block


def test_of_a_dead_job_only_blocks_are_sent(desk: Desk) -> None:
    dead = desk.up(job=a_job(network_target=1000))
    desk(NewJob(a_job(), replace=True))
    assert desk(a_found(dead, EASY)) == []  # judged alive by the feed, and overtaken
    assert desk(a_found(dead, EASY, 1, stale=True)) == []
    assert desk.account().withheld == 2 and desk.account().submitted == 0
    share = desk.share(dead, 2, 1000)
    assert share.block and share.stale


def test_a_block_that_the_feed_called_stale_is_sent_as_such(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=1000))
    (effect,) = desk(a_found(job, 1000, stale=True))
    assert isinstance(effect, Submit) and effect.share.stale


def test_nothing_is_sent_twice(desk: Desk) -> None:
    job = desk.up()
    desk.share(job, 1)
    assert desk(a_found(job, EASY, 1)) == []
    assert desk.share(job, 2)


def test_shares_found_while_the_source_is_away_are_left_to_it(desk: Desk) -> None:
    job = desk.up()
    desk(SourceDown("pool", "reset"), 1.0)
    assert desk.share(job)


# ---- the account


def test_answers_are_booked_on_the_source_that_the_share_went_to(desk: Desk) -> None:
    pool, spare = desk.up(), desk.up("spare")
    first, second, third, fourth = (desk.share(pool, nonce) for nonce in range(4))
    desk.share(spare)
    desk.answer(first, now=0.25)
    desk.answer(second, Reason.LOW_DIFFICULTY)
    desk.answer(third, Reason.STALE)
    account = desk.account()
    assert (account.submitted, account.accepted, account.stale) == (4, 1, 1)
    assert dict(account.rejected) == {Reason.LOW_DIFFICULTY: 1}
    assert account.accepted_difficulty == DIFFICULTY_ONE / EASY
    assert account.latency_s == 0.25
    assert next(iter(desk.manager.pending)) == fourth.id
    assert desk.account("spare").submitted == 1 and desk.account("spare").accepted == 0


def test_an_answer_counts_once(desk: Desk) -> None:
    share = desk.share(desk.up())
    desk.answer(share)
    desk.answer(share)
    desk(Answered("pool", Answer(10**12, accepted=True, block=True)))
    assert (desk.account().accepted, desk.account().blocks_accepted) == (1, 0)


def test_blocks_have_sums_of_their_own(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=EASY))
    desk.answer(desk.share(job, 2), Reason.OTHER)
    desk.answer(desk.share(job, 1))
    account = desk.account()
    assert (account.accepted, account.blocks_accepted, account.blocks_rejected) == (1, 1, 1)


def test_a_share_without_an_answer_is_given_up_and_a_block_is_not(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=1000))
    block, share = desk.share(job, 1, 1000), desk.share(job, 2)
    desk(Tick(), ANSWER_S - 0.1)
    assert len(desk.manager.pending) == 2
    desk(Tick(), ANSWER_S)
    assert dict(desk.account().rejected) == {Reason.UNANSWERED: 1}
    desk.answer(share)
    assert desk.account().accepted == 0
    desk.answer(block, now=9000.0)
    assert desk.account().blocks_accepted == 1


def test_what_is_pending_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "PENDING_SHARES", 3)
    job = desk.up(job=a_job(network_target=1000))
    block = desk.share(job, 0, 1000)
    shares = [desk.share(job, nonce) for nonce in range(1, 6)]
    assert list(desk.manager.pending) == [block.id, shares[-2].id, shares[-1].id]
    assert dict(desk.account().rejected) == {Reason.UNANSWERED: 3}


def test_a_block_whose_answer_is_not_awaited_because_too_many_blocks_wait_is_handed_in_and_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "PENDING_SHARES", 1)
    desk.share(desk.up(job=a_job(network_target=1000)), 0, 1000)
    second = a_job(network_target=1000, prev_hash=bytes(32))
    desk(NewJob(second, replace=True))
    submit, dropped = desk(a_found(second, 900, 1))
    assert isinstance(submit, Submit) and submit.share.hash == 900
    assert dropped == BlockDropped(Fate.UNANSWERED, "pool", "cpu:0", None, 900, "too many others wait for an answer")
    assert len(desk.manager.pending) == 1


def test_connecting_again_is_counted_and_connecting_is_not(desk: Desk) -> None:
    desk(SourceUp("pool"))
    desk(SourceUp("pool"))
    assert desk.account().reconnects == 0
    desk(SourceDown("pool", "reset"))
    desk(SourceUp("pool"))
    assert desk.account().reconnects == 1


def test_the_standings_say_who_is_who(desk: Desk) -> None:
    job = desk.up("spare")
    pool, spare = desk.manager.standings
    assert (pool.connected, pool.active, pool.job) == (False, False, None)
    assert (spare.connected, spare.active, spare.job) == (True, True, job)


def test_the_best_hash_is_kept(desk: Desk) -> None:
    job = desk.up()
    assert desk.manager.best_difficulty is None
    for hash_ in (EASY + 5, EASY, EASY + 9):
        desk(a_found(job, hash_, hash_ % 100))
    assert desk.manager.best_difficulty == DIFFICULTY_ONE / EASY


# ---- the end


def test_it_ends_after_so_many_accepted_blocks() -> None:
    desk = Desk(limits=Limits(blocks=2))

    def solve(height: int, reason: Reason | None = None) -> list[Effect]:
        job = desk.up(job=a_job(network_target=EASY, prev_hash=bytes([height]) * 32))
        return [effect for effect in desk.answer(desk.share(job), reason) if isinstance(effect, Finish)]

    assert solve(1) == []
    assert solve(2, Reason.OTHER) == []
    assert solve(3) == [Finish(ok=True, reason="2 blocks accepted")]


def test_no_more_blocks_are_searched_than_are_wanted() -> None:
    desk = Desk(limits=Limits(blocks=1))
    job = desk.up(job=a_job(network_target=EASY))
    found = desk(a_found(job, EASY, 1))
    assert [type(effect) for effect in found] == [Serve, Submit]
    assert found[0] == Serve(None, replace=True)
    other = a_job(network_target=EASY, prev_hash=bytes(32))
    assert desk(NewJob(other, replace=True)) == [Retire((job.id,))]
    assert fates(desk(a_found(other, EASY, 2))) == [Fate.WITHHELD]
    assert isinstance(found[1], Submit)
    assert desk.answer(found[1].share, Reason.OTHER) == [Serve(other, replace=True)]


def test_a_block_that_is_never_answered_ends_the_rest_and_still_counts_if_it_is() -> None:
    desk = Desk(limits=Limits(blocks=1))
    job = desk.up(job=a_job(share_target=EASY, network_target=HARD))
    block = desk.share(job, 1, HARD)
    assert desk(Tick(), DOUBT_S - 0.1) == []
    assert desk(Tick(), DOUBT_S) == [Serve(job, replace=True)]
    assert [type(effect) for effect in desk(Tick(), BLOCK_S)] == [Distrust]
    assert dict(desk.manager.pending) == {block.id: block}
    assert desk.share(job, 2, HARD).block
    assert desk.answer(block) == [Trust("pool"), Finish(ok=True, reason="1 blocks accepted")]


def test_where_every_share_is_a_block_one_on_each_parent_is_sent(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=EASY))
    desk.share(job, 1)
    assert fates(desk(a_found(job, EASY, 2))) == [Fate.WITHHELD]
    desk(NewJob(update := a_job(network_target=EASY), replace=False))
    assert fates(desk(a_found(update, EASY, 3))) == [Fate.WITHHELD]
    following = desk.up(job=a_job(network_target=EASY, prev_hash=bytes(32)))
    assert desk.share(following, 4).block
    assert desk.account().withheld == 2


def test_a_block_that_was_refused_makes_room_for_another_on_its_parent(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=EASY))
    first = desk.share(job, 1)
    assert fates(desk(a_found(job, EASY, 2))) == [Fate.WITHHELD]
    desk.answer(first, Reason.OTHER)
    assert desk.share(job, 3).block


@pytest.mark.parametrize(("share_target", "network_target"), [(EASY, EASY - 9), (EASY - 9, EASY)])
def test_every_share_of_a_pool_is_sent_and_the_first_that_solves_its_parent_is_the_block(
    desk: Desk, share_target: int, network_target: int
) -> None:
    job = desk.up(job=a_job(share_target=share_target, network_target=network_target))
    shares = [desk.share(job, nonce, EASY - 9) for nonce in range(3)]
    assert [share.block for share in shares] == [True, False, False]
    desk.answer(shares[0], Reason.OTHER)
    assert desk.share(job, 3, EASY - 9).block  # the refused one did not solve the parent


def test_a_pool_that_refuses_a_bare_block_is_sent_one_again_after_a_pause(desk: Desk) -> None:
    job = desk.up(job=a_job(share_target=HARD, network_target=EASY))
    desk.answer(desk.share(job, 0), Reason.LOW_DIFFICULTY)
    for nonce in range(1, 301):
        assert fates(desk(a_found(job, EASY, nonce))) == [Fate.WITHHELD]
    assert desk.account().submitted == 1 and desk.account().withheld == 300
    following = desk.up(job=a_job(share_target=HARD, network_target=EASY, prev_hash=OTHER_PREV))
    (dropped,) = drops(desk(a_found(following, EASY, 1)))  # another parent changes nothing
    assert "misses the share target" in dropped.reason
    desk.now = FIRST_PAUSE_S
    (submit,) = desk(a_found(following, EASY, 2))
    assert isinstance(submit, Submit) and submit.share.block


def test_a_source_that_comes_back_under_its_name_is_sent_bare_blocks_anew() -> None:
    desk = Desk("pool")
    desk.answer(desk.share(desk.up(job=a_job(share_target=HARD, network_target=EASY))), Reason.LOW_DIFFICULTY)
    desk.manager.choose_among((), 1.0)
    desk.manager.dismiss("pool", 1.0)
    desk.manager.choose_among(("pool",), 2.0)
    assert desk.share(desk.up(job=a_job(share_target=HARD, network_target=EASY)), 1).block


def test_a_share_that_solves_a_block_goes_out_while_bare_blocks_are_withheld(desk: Desk) -> None:
    job = desk.up(job=a_job(share_target=EASY - 9, network_target=EASY))
    desk.answer(desk.share(job, 0), Reason.LOW_DIFFICULTY)
    assert desk.share(job, 1, EASY - 9).block


def test_a_source_that_returns_to_a_solved_parent_gets_one_more_block_for_each_job_on_it(desk: Desk) -> None:
    parent = desk.up(job=a_job(network_target=EASY))
    desk.answer(desk.share(parent, 1))
    desk(NewJob(a_job(network_target=EASY, prev_hash=OTHER_PREV), replace=True))
    assert fates(desk(a_found(parent, EASY, 2))) == [Fate.WITHHELD]  # a late one of the solved parent
    for nonce in (3, 6, 9):
        again = a_job(network_target=EASY)
        desk(NewJob(again, replace=True))
        block = desk.share(again, nonce)
        assert fates(desk(a_found(again, EASY, nonce + 1))) == [Fate.WITHHELD]
        desk.answer(block)
        assert fates(desk(a_found(again, EASY, nonce + 2))) == [Fate.WITHHELD]


def test_a_job_on_the_parent_of_an_unanswered_block_lets_another_be_sent_only_after_a_while(desk: Desk) -> None:
    desk.share(desk.up(job=a_job(network_target=EASY)), 1)
    desk(NewJob(early := a_job(network_target=EASY), replace=False), DOUBT_S - 0.1)
    assert fates(desk(a_found(early, EASY, 2))) == [Fate.WITHHELD]
    desk(NewJob(late := a_job(network_target=EASY), replace=False), DOUBT_S)
    assert desk.share(late, 3).block


def test_a_job_of_one_source_says_nothing_about_what_another_builds_on(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=EASY))
    desk.answer(desk.share(job, 1))
    desk.up("spare", a_job(source="spare", network_target=EASY))
    assert fates(desk(a_found(job, EASY, 2))) == [Fate.WITHHELD]


def test_a_job_that_comes_too_late_to_be_taken_does_not_open_its_parent(desk: Desk) -> None:
    desk.up(job=a_job(session=1, network_target=EASY))
    current = desk.up(job=a_job(session=2, network_target=EASY))
    desk.answer(desk.share(current, 1))
    desk(NewJob(current, replace=False))
    desk(NewJob(a_job(session=1, network_target=EASY), replace=False))
    assert fates(desk(a_found(current, EASY, 2))) == [Fate.WITHHELD]


def test_a_withheld_block_is_told_with_what_an_operator_can_look_it_up_by(desk: Desk) -> None:
    job = desk.up(job=replace(a_job(network_target=EASY), height=840_000))
    desk.share(job, 1)
    (dropped,) = desk(a_found(job, EASY - 5, 2, device="asic:1"))
    assert isinstance(dropped, BlockDropped)
    assert (dropped.source, dropped.device, dropped.height, dropped.hash) == ("pool", "asic:1", 840_000, EASY - 5)
    assert "another block of ours" in dropped.reason


def test_a_withheld_share_that_solves_nothing_is_not_told_as_a_block(desk: Desk) -> None:
    old = desk.up(job=a_job(network_target=HARD))
    desk(NewJob(a_job(network_target=HARD, prev_hash=OTHER_PREV), replace=True))
    assert desk(a_found(old, EASY)) == []
    assert desk.account().withheld == 1


def test_blocks_without_an_answer_are_told_at_the_end_and_when_their_source_is_taken_out(desk: Desk) -> None:
    job = desk.up(job=a_job(network_target=HARD))
    desk.share(job, 1)
    block = desk.share(job, 2, HARD)
    assert [(each.fate, each.hash) for each in drops(desk.manager.close())] == [(Fate.UNANSWERED, HARD)]
    assert dict(desk.manager.pending) == {block.id: block}
    desk.manager.choose_among(("spare",), 1.0)
    assert fates(desk.manager.dismiss("pool", 1.0)) == [Fate.UNANSWERED]


def test_it_ends_after_so_many_accepted_shares() -> None:
    desk = Desk(limits=Limits(shares=1))
    job = desk.up()
    assert desk.answer(desk.share(job, 1), Reason.DUPLICATE) == []
    assert [type(effect) for effect in desk.answer(desk.share(job, 2))] == [Finish]


def test_only_time_with_something_to_hash_on_is_mining_time() -> None:
    desk = Desk(limits=Limits(seconds=20.0))
    desk.up()
    assert desk(Tick(), 100.0) == []  # compiling
    desk(MiningBegan(), 100.0)
    assert desk.manager.mining_s(104.0) == 4.0
    desk(SourceFailed("pool", "gone"), 110.0)
    assert desk(Tick(), 500.0) == []
    assert desk.manager.mining_s(500.0) == 10.0
    desk.up("spare")
    assert desk(Tick(), 509.0) == []
    assert [type(effect) for effect in desk(Tick(), 510.0)] == [Finish]


def test_with_every_source_failed_it_ends_and_says_why() -> None:
    desk = Desk("pool")
    assert desk(SourceFailed("pool", "no such host")) == [Finish(ok=False, reason="pool: no such host")]
    two = Desk()
    assert two(SourceFailed("pool", "no such host")) == []
    two(SourceDown("spare", "reset"))
    assert two(SourceFailed("spare", "banned")) == [Finish(ok=False, reason="pool: no such host; spare: banned")]


def test_found_at_is_the_managers_time(desk: Desk) -> None:
    job = desk.up()
    desk.now = 42.0
    assert desk.share(job).found_at == 42.0


def test_what_was_hashed_is_booked_for_whom_it_was_done_even_after_it_was_taken_out() -> None:
    desk = Desk("pool", "spare")
    desk(Tick({"pool": 1000, "spare": 10}))
    desk.manager.choose_among(["pool"], 0.0)
    desk.manager.dismiss("spare", 0.0)
    desk(Tick({"pool": 3000, "spare": 20, "unheard of": 1}))
    assert (desk.account("pool").hashes, desk.account("spare").hashes) == (3000, 20)


def test_a_strategy_sees_who_is_ready_and_what_was_done_for_them() -> None:
    seen: list[Sequence[Candidate]] = []

    def choose(candidates: Sequence[Candidate], now: float) -> str | None:
        seen.append(candidates)
        return first_ready(candidates, now)

    desk = Desk()
    desk.manager = Manager(("pool", "spare"), strategy=choose)
    desk.up("spare")
    desk(Tick({"spare": 500}))
    assert seen[-1] == [Candidate("pool", ready=False), Candidate("spare", ready=True, hashes=500)]


def test_a_share_counts_for_what_its_source_says_and_its_way_there_and_back_are_kept_apart() -> None:
    desk = Desk()
    share = desk.share(desk.up())
    answer = Answer(share.id, accepted=True, block=False, sent_at=share.found_at + 0.25, difficulty=8.0)
    desk(Answered("pool", answer), share.found_at + 1.0)
    account = desk.account()
    assert account.accepted_difficulty == 8.0
    assert (account.sending_s, account.answering_s, account.latency_s) == (0.25, 0.75, 1.0)


def test_time_in_which_all_devices_are_kept_off_is_no_mining_time() -> None:
    desk = Desk()
    desk.up()
    desk(MiningBegan(), 10.0)
    desk(Tick(), 14.0)
    desk(Tick(resting=True), 15.0)
    assert desk.manager.mining_s(3600.0) == 5.0
    desk(Tick(), 3600.0)
    assert desk.manager.mining_s(3601.0) == 6.0
