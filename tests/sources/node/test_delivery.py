from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.sources.node.delivery import (
    ENOUGH_S,
    FIRST_WAIT_S,
    LONGEST_WAIT_S,
    Deliver,
    Delivery,
    Effect,
    Event,
    GaveUp,
    Reachable,
    Replied,
    Send,
    Settle,
    Taken,
    Tick,
    Unreached,
    is_yes,
    reason_of,
)
from miner.sources.node.journal import FoundBlock
from miner.work.events import Answered
from miner.work.share import Answer, Reason

BLOCK = FoundBlock("aa" * 32, 101, "regtest", 0.0, b"block")
OTHER = FoundBlock("bb" * 32, 102, "regtest", 0.0, b"other")
TAKEN = Taken(BLOCK)
YES = Answered("node", Answer(7, accepted=True, block=True))


def one() -> Delivery:
    return Delivery("node", ("node",))


def two() -> Delivery:
    return Delivery("node", ("node", "far"))


def replied(verdict: str, node: str = "node") -> Replied:
    return Replied(BLOCK.hash, node, verdict)


def unreached(node: str = "node") -> Unreached:
    return Unreached(BLOCK.hash, node, "reset by peer")


def no(reason: Reason, text: str) -> Answered:
    return Answered("node", Answer(7, accepted=False, block=True, reason=reason, text=text))


def test_an_accepted_block_answers_its_share_and_is_settled() -> None:
    delivery = one()
    assert delivery.handle(Deliver(BLOCK, 7), 0.0) == [Send(BLOCK, "node")]
    assert delivery.unanswered == 1
    assert delivery.handle(replied(""), 0.1) == [TAKEN, YES, Settle(BLOCK)]
    assert delivery.unanswered == 0


def test_a_duplicate_is_success() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    (_, answer, _) = delivery.handle(replied("duplicate"), 0.1)
    assert isinstance(answer, Answered) and answer.answer.accepted


def test_the_prefix_of_bcoin_is_not_part_of_the_verdict() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    (_, answer, _) = delivery.handle(replied("rejected: duplicate"), 0.1)
    assert isinstance(answer, Answered) and answer.answer.accepted


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ("inconclusive", Reason.STALE),
        ("duplicate-inconclusive", Reason.STALE),
        ("bad-prevblk", Reason.STALE),
        ("high-hash", Reason.LOW_DIFFICULTY),
        ("time-too-new", Reason.BAD_TIME),
        ("bad-version(0x00000001)", Reason.BAD_VERSION),
        ("bad-txnmrklroot", Reason.MALFORMED),
        ("Block decode failed", Reason.OTHER),
        ("duplicate-invalid", Reason.OTHER),
    ],
)
def test_a_refused_block_answers_with_the_reason_and_the_nodes_word(verdict: str, reason: Reason) -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(replied(verdict), 0.1) == [Settle(BLOCK), no(reason, verdict)]
    assert reason_of(verdict) is reason


def test_a_missing_parent_may_still_come() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(replied("prev-blk-not-found"), 1.0) == []
    assert delivery.handle(Tick(), 1.0 + FIRST_WAIT_S) == [Send(BLOCK, "node")]
    assert delivery.handle(replied(""), 2.0) == [TAKEN, YES, Settle(BLOCK)]


def test_a_parent_that_never_comes_is_given_up() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(replied("prev-blk-not-found"), ENOUGH_S - 1)
    assert delivery.handle(Tick(), ENOUGH_S) == [Send(BLOCK, "node")]
    assert delivery.handle(replied("prev-blk-not-found"), ENOUGH_S) == [
        Settle(BLOCK),
        no(Reason.STALE, "prev-blk-not-found"),
    ]


def test_a_block_of_an_earlier_run_answers_no_share() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, None), 0.0)
    assert delivery.handle(replied(""), 0.1) == [TAKEN, Settle(BLOCK)]
    delivery.handle(Deliver(BLOCK, None), 0.0)
    assert delivery.handle(replied("high-hash"), 0.1) == [Settle(BLOCK)]


def test_what_is_under_way_already_is_not_sent_twice() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(Deliver(BLOCK, None), 0.0) == []


def test_a_node_that_cannot_be_reached_is_tried_for_ever_with_growing_pauses() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    now, pauses = 0.0, []
    while now < 3600:
        assert delivery.handle(unreached(), now) == []
        begun = now
        while not delivery.handle(Tick(), now):
            now += 0.125
        pauses.append(now - begun)
    assert pauses[0] == FIRST_WAIT_S
    assert max(pauses) == LONGEST_WAIT_S
    assert delivery.unanswered == 1
    assert delivery.handle(replied(""), now) == [TAKEN, YES, Settle(BLOCK)]


def test_a_node_that_is_back_gets_what_waits_for_it_at_once() -> None:
    delivery, now = two(), 0.0
    delivery.handle(Deliver(BLOCK, 7), now)
    while now < 120.0:  # until the pause is at its longest
        for effect in delivery.handle(Tick(), now):
            assert isinstance(effect, Send)
            delivery.handle(unreached(effect.node), now)
        if now == 0.0:
            delivery.handle(unreached("node"), now)
            delivery.handle(unreached("far"), now)
        now += 0.25
    assert delivery.handle(Reachable("node"), now) == [Send(BLOCK, "node")]
    assert delivery.handle(Reachable("node"), now) == []  # it is under way
    delivery.handle(unreached("node"), now)
    assert delivery.handle(Tick(), now + FIRST_WAIT_S) == [Send(BLOCK, "node")]


def test_while_an_answer_is_awaited_nothing_is_sent_again() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(Tick(), 1e6) == []


def test_all_nodes_get_the_block_at_once_and_the_first_yes_answers() -> None:
    delivery = two()
    assert delivery.handle(Deliver(BLOCK, 7), 0.0) == [Send(BLOCK, "node"), Send(BLOCK, "far")]
    assert delivery.handle(replied("", "far"), 0.1) == [YES]
    assert delivery.unanswered == 0
    assert delivery.handle(replied("high-hash"), 0.2) == [Settle(BLOCK)]


def test_a_no_waits_for_what_the_others_say() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(replied("inconclusive"), 0.1) == []
    assert delivery.handle(replied("", "far"), 0.2) == [YES, Settle(BLOCK)]


def test_only_the_node_whose_templates_are_mined_tells_of_a_new_tip() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(replied("", "far"), 0.1) == [YES]
    assert delivery.handle(replied("duplicate"), 0.2) == [TAKEN, Settle(BLOCK)]


def test_what_no_node_has_taken_yet_is_known() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(Deliver(OTHER, 8), 0.0)
    delivery.handle(replied("inconclusive"), 0.1)
    assert delivery.untaken == [BLOCK, OTHER]
    delivery.handle(replied("", "far"), 0.1)
    assert delivery.untaken == [OTHER]


@pytest.mark.parametrize(
    ("verdict", "yes"),
    [
        ("", True),
        ("duplicate", True),
        ("rejected: duplicate", True),
        ("duplicate-invalid", False),
        ("high-hash", False),
    ],
)
def test_a_yes_is_told_from_a_no(verdict: str, *, yes: bool) -> None:
    assert is_yes(verdict) is yes


def test_when_all_say_no_the_first_nodes_word_counts() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(replied("high-hash"), 0.1)
    assert delivery.handle(replied("inconclusive", "far"), 0.2) == [
        Settle(BLOCK),
        no(Reason.LOW_DIFFICULTY, "high-hash"),
    ]


def give_it_time(delivery: Delivery, now: float) -> list[Effect]:
    """Ticks until `now`, with the far node away all the while."""
    effects: list[Effect] = []
    at = 0.0
    while at <= now:
        for effect in delivery.handle(Tick(), at):
            if isinstance(effect, Send):
                delivery.handle(unreached(effect.node), at)
            else:
                effects.append(effect)
        at += 0.5
    return effects


def test_a_further_node_that_stays_away_does_not_hold_an_accepted_block_for_ever() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(replied(""), 0.1)
    delivery.handle(unreached("far"), 0.1)
    assert give_it_time(delivery, ENOUGH_S - 1) == []
    assert give_it_time(delivery, ENOUGH_S + 1) == [GaveUp(BLOCK, "far"), Settle(BLOCK)]


def test_a_further_node_that_stays_away_does_not_hold_a_refused_block_for_ever() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(replied("high-hash"), 0.1)
    delivery.handle(unreached("far"), 0.1)
    assert give_it_time(delivery, ENOUGH_S + 1) == [
        GaveUp(BLOCK, "far"),
        Settle(BLOCK),
        no(Reason.LOW_DIFFICULTY, "high-hash"),
    ]
    assert delivery.unanswered == 0


def test_a_no_of_a_further_node_is_not_the_end_while_the_first_is_away() -> None:
    delivery = two()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(replied("bad-prevblk", "far"), 0.1)
    delivery.handle(unreached("node"), 0.1)
    assert give_it_time(delivery, 10 * ENOUGH_S) == []
    assert delivery.unanswered == 1
    assert delivery.handle(replied(""), 10 * ENOUGH_S) == [TAKEN, YES, Settle(BLOCK)]


def test_blocks_do_not_mix() -> None:
    delivery = one()
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    delivery.handle(Deliver(OTHER, 8), 0.0)
    assert delivery.handle(replied(""), 0.1) == [TAKEN, YES, Settle(BLOCK)]
    assert delivery.unanswered == 1


def test_late_and_unknown_answers_are_nothing() -> None:
    delivery = one()
    assert delivery.handle(replied(""), 0.0) == delivery.handle(unreached(), 0.0) == []
    delivery.handle(Deliver(BLOCK, 7), 0.0)
    assert delivery.handle(replied("", "stranger"), 0.0) == []
    delivery.handle(replied(""), 0.0)
    assert delivery.handle(replied(""), 0.0) == []


_events = st.lists(
    st.one_of(
        st.builds(Deliver, st.sampled_from([BLOCK, OTHER]), st.just(7)),
        st.builds(
            Replied,
            st.sampled_from([BLOCK.hash, OTHER.hash]),
            st.sampled_from(["node", "far"]),
            st.sampled_from(["", "duplicate", "high-hash", "inconclusive"]),
        ),
        st.builds(
            Unreached,
            st.sampled_from([BLOCK.hash, OTHER.hash]),
            st.sampled_from(["node", "far"]),
            st.just("gone"),
        ),
        st.just(Tick()),
    ),
    max_size=60,
)


@given(_events)
def test_every_block_delivered_is_answered_once_and_settled_once(events: list[Event]) -> None:
    delivery, now, delivered = two(), 0.0, 0
    effects: list[Effect] = []
    for event in events:
        now += 1.0
        before = len(delivery._parcels)
        effects += delivery.handle(event, now)
        delivered += max(0, len(delivery._parcels) - before)
    for block in (BLOCK, OTHER):
        for node in ("node", "far"):
            effects += delivery.handle(Replied(block.hash, node, ""), now)
    assert sum(isinstance(effect, Settle) for effect in effects) == delivered
    assert sum(isinstance(effect, Answered) for effect in effects) == delivered
    assert not delivery._parcels
