from __future__ import annotations

import pytest

from miner.work.bare import FIRST_PAUSE_S, LONGEST_PAUSE_S, BareBlocks
from miner.work.job import Job
from miner.work.share import Answer, Reason, Share
from tests.work.making import EASY, HARD, a_job

JOB = a_job(share_target=HARD, network_target=EASY)
DAY_S = 86_400.0


def a_share(job: Job = JOB) -> Share:
    return Share(1, job, "cpu:0", bytes(4), 0, job.version, job.ntime, EASY, True, False, 0.0)


def answer(reason: Reason | None) -> Answer:
    return Answer(1, accepted=reason is None, block=True, reason=reason)


def test_a_source_that_accepts_bare_blocks_gets_each() -> None:
    bare = BareBlocks()
    bare.answered(a_share(), answer(None), 0.0)
    assert bare.wanted("pool", 0.0)


@pytest.mark.parametrize("reason", [Reason.LOW_DIFFICULTY, Reason.OTHER, Reason.MALFORMED])
def test_a_refusal_pauses_bare_blocks_of_that_source_alone(reason: Reason) -> None:
    bare = BareBlocks()
    bare.answered(a_share(), answer(reason), 5.0)
    assert not bare.wanted("pool", 5.0 + FIRST_PAUSE_S - 1)
    assert bare.wanted("spare", 5.0)
    assert bare.wanted("pool", 5.0 + FIRST_PAUSE_S)


@pytest.mark.parametrize("reason", [Reason.STALE, Reason.UNANSWERED, Reason.UNAUTHORIZED, Reason.DUPLICATE])
def test_a_refusal_for_something_else_than_the_hash_pauses_nothing(reason: Reason) -> None:
    bare = BareBlocks()
    bare.answered(a_share(), answer(reason), 0.0)
    assert bare.wanted("pool", 0.0)


def test_a_refused_share_that_meets_its_target_pauses_nothing() -> None:
    bare = BareBlocks()
    bare.answered(a_share(a_job(share_target=EASY, network_target=EASY)), answer(Reason.LOW_DIFFICULTY), 0.0)
    assert bare.wanted("pool", 0.0)


def test_a_pool_that_refuses_every_bare_block_is_sent_eight_on_the_first_day_and_one_each_day_after_that() -> None:
    bare = BareBlocks()
    sent = [0] * 4
    for second in range(0, int(4 * DAY_S), 60):
        if bare.wanted("pool", second):
            sent[int(second // DAY_S)] += 1
            bare.answered(a_share(), answer(Reason.LOW_DIFFICULTY), second)
    assert sent == [8, 1, 1, 1]
    assert LONGEST_PAUSE_S == DAY_S


def test_acceptance_ends_the_pauses_and_the_next_refusal_begins_with_the_shortest() -> None:
    bare = BareBlocks()
    for refused_at in (0.0, 1000.0):
        bare.answered(a_share(), answer(Reason.LOW_DIFFICULTY), refused_at)
    bare.answered(a_share(), answer(None), 2000.0)
    assert bare.wanted("pool", 2000.0)
    bare.answered(a_share(), answer(Reason.LOW_DIFFICULTY), 3000.0)
    assert bare.wanted("pool", 3000.0 + FIRST_PAUSE_S)
