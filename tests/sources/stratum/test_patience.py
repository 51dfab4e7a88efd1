"""When a pool that answers nothing is left, and which pools are not: the server's side spoken by hand."""

from __future__ import annotations

import pytest

from miner.sources.stratum.backoff import UNANSWERED_S, Backoff
from miner.sources.stratum.effects import Ending
from miner.sources.stratum.patience import FACTOR, LEAST_S, LONGEST_S, STEP_S, Patience
from miner.sources.stratum.shares import ANSWER_S
from miner.work.events import SourceDown
from miner.work.job import Job
from miner.work.share import Reason
from tests.sources.stratum.talk import Table, easy, line, notice, notify, options, share_of


def joined(table: Table | None = None) -> tuple[Table, Job]:
    table = table or Table()
    table.join()
    return table, easy(table)


def passes(table: Table, seconds: int) -> None:
    for _ in range(seconds):
        table.tick(1.0)


def hand_in(table: Table, job: Job, number: int) -> dict[str, object]:
    sent = table.submit(share_of(job, number.to_bytes(4, "little")))
    (request,) = [request for request in sent if request["method"] == "mining.submit"]
    return request


def test_a_pool_that_answers_no_share_is_left_and_says_what_is_lost_at_most() -> None:
    table, job = joined()
    table.tick()
    for number in range(3):
        hand_in(table, job, number)
    passes(table, int(LEAST_S) - 1)
    assert table.left is None
    passes(table, 1)
    assert table.left is not None and table.left.ending is Ending.UNANSWERED
    assert "3 shares" in table.left.text
    assert f"{3 * 2.0**-26:.6g} difficulty" in table.left.text


def test_a_pool_whose_receiving_half_has_died_is_left_though_it_goes_on_sending_jobs() -> None:
    table, job = joined()
    hand_in(table, job, 1)
    for number in range(int(LEAST_S) + 1):
        table.say(
            notify(f"later {number}"), notice("mining.set_difficulty", 2.0**-26), line(id=7, method="mining.ping")
        )
        table.tick(1.0)
    assert table.left is not None and table.left.ending is Ending.UNANSWERED


def test_a_pool_without_shares_under_way_is_not_left() -> None:
    table, _ = joined()
    passes(table, 100)
    assert table.left is None


def test_shares_that_are_held_back_are_not_under_way() -> None:
    table, job = joined(Table(options(share_rate=0.001, share_burst=1)))
    table.answer(hand_in(table, job, 1), True)
    assert table.submit(share_of(job, b"\x02\0\0\0")) == []
    passes(table, 100)
    assert table.left is None


def test_the_answer_to_another_request_is_a_sign_of_life() -> None:
    table, job = joined()
    subscribed = table.last("mining.extranonce.subscribe")
    hand_in(table, job, 1)
    passes(table, int(LEAST_S) - 1)
    table.answer(subscribed, None, [20, "Method not found", None])
    passes(table, int(LEAST_S) - 1)
    assert table.left is None
    passes(table, 2)
    assert table.left is not None


@pytest.mark.parametrize("latency_s", [5, 8, 15])
def test_a_pool_of_long_latency_is_not_left(latency_s: int) -> None:
    table, job = joined()
    under_way = []
    for number in range(200):
        under_way.append(hand_in(table, job, number))
        if len(under_way) > latency_s:
            table.answer(under_way.pop(0), True)
        table.tick(1.0)
    assert table.left is None
    assert len(table.answers) == 200 - latency_s
    passes(table, int(FACTOR * latency_s) - 1)
    assert table.left is None


def test_a_block_without_an_answer_is_a_share_under_way() -> None:
    table, job = joined()
    table.submit(share_of(job, block=True))
    passes(table, int(LEAST_S) + 1)
    assert table.left is not None and table.left.ending is Ending.UNANSWERED


def test_a_pool_slower_than_the_least_patience_is_left_once_and_then_known() -> None:
    table, job = joined()
    hand_in(table, job, 1)
    passes(table, 21)
    assert table.left is not None
    table.hang_up(Ending.UNANSWERED)
    table.effects.clear()
    table.join()
    job = easy(table, notify("again"))
    resent = [request for request in table.requests if request["method"] == "mining.submit"][-1]
    passes(table, 25)
    table.answer(resent, True)
    hand_in(table, job, 2)
    passes(table, 99)
    assert table.left is None


def test_time_in_which_this_process_stood_still_is_no_silence() -> None:
    table, job = joined()
    request = hand_in(table, job, 1)
    table.tick()
    table.tick(100.0)
    assert table.left is None
    table.answer(request, True)
    table.tick()
    assert table.left is None


def test_shares_are_resent_on_the_next_connection_but_no_longer_than_they_are_waited_for() -> None:
    table, job = joined()
    share = share_of(job)
    table.submit(share)
    for _ in range(20):
        passes(table, 21)
        if table.left is not None:
            table.hang_up(Ending.UNANSWERED)
            table.effects = [effect for effect in table.effects if effect is not table.left]
            table.join()
            table.tick()
            table.hear()
    assert [answer.reason for answer in table.answers] == [Reason.UNANSWERED]
    assert table.pool.quiet
    assert table.now >= ANSWER_S


def test_shares_of_a_session_that_is_not_resumed_are_counted_as_lost() -> None:
    table, job = joined()
    for number in range(3):
        hand_in(table, job, number)
    table.hang_up(Ending.UNANSWERED)
    down = [effect for effect in table.effects if isinstance(effect, SourceDown)][-1]
    assert down.unanswered
    table.join(extranonce1="0a0b0c0d")
    assert "shares_lost" in table.said
    assert [answer.reason for answer in table.answers] == [Reason.UNANSWERED] * 3


def test_other_endings_say_nothing_about_shares() -> None:
    table, _ = joined()
    table.hang_up(Ending.CLOSED)
    assert not next(effect for effect in table.effects if isinstance(effect, SourceDown)).unanswered


def test_patience_grows_over_silent_connections_to_a_limit_and_an_answer_resets_it() -> None:
    patience = Patience()
    limits = []
    for _ in range(5):
        patience.begin()
        limits.append(patience.limit_s)
        now = 0.0
        while not patience.ends(now, answers=1, under_way=1):
            now += STEP_S
    assert limits == [20.0, 40.0, 80.0, LONGEST_S, LONGEST_S]
    patience.answered(0.1)
    assert patience.limit_s == LEAST_S


def test_an_answer_ends_the_silence_at_once() -> None:
    patience = Patience()
    for second in range(5):
        patience.ends(float(second), answers=0, under_way=1)
    assert patience.silent_s == 4.0
    patience.answered(4.0)
    assert patience.silent_s == 0.0


def test_only_the_last_hundred_answers_count() -> None:
    patience = Patience()
    patience.answered(50.0)
    assert patience.limit_s == FACTOR * 50.0
    for _ in range(100):
        patience.answered(0.1)
    assert patience.limit_s == LEAST_S


def test_a_pool_left_for_silence_is_dialled_again_with_growing_pauses_that_devices_can_bridge() -> None:
    backoff = Backoff(lambda: 1.0)
    waits = [backoff.wait_s(Ending.UNANSWERED, stable_s=120.0) for _ in range(8)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, UNANSWERED_S, UNANSWERED_S, UNANSWERED_S]
