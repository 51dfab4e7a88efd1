from __future__ import annotations

import pytest

from miner.work import outbox as module
from miner.work.outbox import ANSWER_S, BLOCK_S, DOUBT_S, Outbox
from miner.work.share import Answer, Share
from tests.work.making import EASY, a_found, a_job

JOB = a_job()


def put(outbox: Outbox, nonce: int, now: float = 0.0, *, block: bool = False) -> Share:
    share = outbox.share(a_found(JOB, EASY, nonce), now, block=block, stale=False)
    assert share is not None
    return share


def answer(share: Share, *, accepted: bool) -> Answer:
    return Answer(share.id, accepted=accepted, block=share.block)


def test_a_share_waits_until_it_is_answered_and_is_answered_once() -> None:
    outbox = Outbox()
    share = put(outbox, 1)
    assert list(outbox.pending.values()) == [share]
    assert outbox.settle(answer(share, accepted=True)) == share
    assert outbox.settle(answer(share, accepted=True)) is None
    assert not outbox.pending


def test_the_same_hit_is_sent_once_even_after_its_answer() -> None:
    outbox = Outbox()
    outbox.settle(answer(put(outbox, 1), accepted=True))
    assert outbox.share(a_found(JOB, EASY, 1), 0.0, block=False, stale=False) is None


@pytest.mark.parametrize("accepted", [True, False])
def test_a_parent_is_solved_from_the_sending_of_a_block_unless_it_is_refused(*, accepted: bool) -> None:
    outbox = Outbox()
    put(outbox, 1)
    assert not outbox.solved(JOB) and outbox.blocks(0.0) == 0
    block = put(outbox, 2, block=True)
    assert outbox.solved(JOB) and outbox.blocks(0.0) == 1
    outbox.settle(answer(block, accepted=accepted))
    assert outbox.solved(JOB) is accepted and outbox.blocks(0.0) == 0


def test_the_refusal_of_an_older_block_leaves_the_newer_one_on_its_parent() -> None:
    outbox = Outbox()
    older = put(outbox, 1, block=True)
    put(outbox, 2, block=True)
    outbox.abandon(older)
    assert outbox.solved(JOB)


def test_work_on_a_parent_opens_it_where_a_block_was_accepted_and_leaves_a_newer_block_alone() -> None:
    outbox = Outbox()
    older = put(outbox, 1, block=True)
    newer = put(outbox, 2, block=True)
    outbox.settle(answer(older, accepted=True))
    outbox.reopen(JOB, 1.0)
    assert outbox.solved(JOB)  # the newer one is still on its way
    outbox.settle(answer(newer, accepted=True))
    outbox.reopen(a_job(prev_hash=bytes(32)), 1.0)
    assert outbox.solved(JOB)
    outbox.reopen(JOB, 1.0)
    assert not outbox.solved(JOB)


def test_work_on_a_parent_opens_it_where_a_block_was_not_answered_for_a_while() -> None:
    outbox = Outbox()
    block = put(outbox, 1, 5.0, block=True)
    outbox.reopen(JOB, 5.0 + DOUBT_S - 0.1)
    assert outbox.solved(JOB)
    outbox.reopen(JOB, 5.0 + DOUBT_S)
    assert not outbox.solved(JOB) and block.id in outbox.pending
    outbox.settle(answer(block, accepted=True))
    assert not outbox.solved(JOB)  # the source has said since that it does not build on it


def test_only_shares_are_ever_overdue() -> None:
    outbox = Outbox()
    put(outbox, 0, block=True)
    early, late = put(outbox, 1, 0.0), put(outbox, 2, 1.0)
    assert outbox.overdue(ANSWER_S - 0.1) == []
    assert outbox.overdue(ANSWER_S) == [early]
    assert outbox.overdue(ANSWER_S + 1.0) == [early, late]


def test_a_block_waits_for_ever_and_is_waited_for_only_so_long() -> None:
    outbox = Outbox()
    block = put(outbox, 1, 5.0, block=True)
    assert (outbox.blocks(5.0 + DOUBT_S - 0.1), outbox.blocks(5.0 + DOUBT_S)) == (1, 0)
    assert outbox.settle(answer(block, accepted=True)) == block


def test_where_too_many_wait_the_oldest_share_goes_and_of_blocks_alone_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PENDING_SHARES", 2)
    outbox = Outbox()
    put(outbox, 0, block=True)
    share = put(outbox, 1)
    assert outbox.crowded_out() is None
    put(outbox, 2, block=True)
    assert outbox.crowded_out() == share
    outbox.abandon(share)
    newest = put(outbox, 3, block=True)
    assert outbox.crowded_out() == newest


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SENT_SHARES", 2)
    monkeypatch.setattr(module, "SOLVED_PARENTS", 1)
    outbox, other = Outbox(), a_job(prev_hash=bytes(32))
    for nonce in range(3):
        outbox.settle(answer(put(outbox, nonce, block=True), accepted=True))
    put(outbox, 0)  # forgotten by now
    assert outbox.share(a_found(other, EASY), 0.0, block=True, stale=False)
    assert outbox.solved(other) and not outbox.solved(JOB)


def test_a_parent_carries_a_block_until_it_is_refused_or_has_waited_too_long() -> None:
    outbox = Outbox()
    assert not outbox.carries(JOB, 0.0)
    block = put(outbox, 1, block=True)
    assert outbox.carries(JOB, BLOCK_S - 1)
    assert not outbox.carries(JOB, BLOCK_S)
    outbox.settle(answer(block, accepted=True))
    assert outbox.carries(JOB, BLOCK_S)
