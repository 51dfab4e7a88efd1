"""One pool over its connections, the server's side spoken by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.target import DIFFICULTY_ONE, Target
from miner.sources.base import SourceMisconfigured
from miner.sources.stratum.brake import LINES
from miner.sources.stratum.effects import Ending, Learnt, Leave, Say
from miner.sources.stratum.pool import BAD_JOBS, EARLY_JOBS, MASK_ANSWER_S, NO_WORK_S
from miner.sources.stratum.questions import HANGS_UP_S
from miner.sources.stratum.rolling import Style
from miner.sources.stratum.shares import ANSWER_S
from miner.work.events import NewJob, SourceDown, SourceUp
from miner.work.share import Reason, Share
from tests.sources.stratum.talk import (
    OTHER_HASH,
    PAID,
    PREV_HASH,
    Table,
    easy,
    line,
    methods,
    notice,
    notify,
    options,
    share_of,
)

LOW = [23, "Low difficulty share", None]


def joined(**changes: Any) -> Table:
    table = Table(options(**changes)) if changes else Table()
    table.join()
    return table


def submits(table: Table) -> list[list[Any]]:
    return [request["params"] for request in table.requests if request["method"] == "mining.submit"]


# ---- jobs


def test_ready_is_up_and_what_came_before_is_mined_with_the_difficulty_of_then() -> None:
    table = Table()
    table.connect()
    table.say(notice("mining.set_difficulty", 4), notify("early"), notice("mining.set_difficulty", 8))
    assert table.effects == []
    table.answer(table.requests[-1], None)
    table.hear()
    table.answer(table.last("mining.subscribe"), [[], "08000002", 4])
    table.hear()
    up, job = table.answer(table.last("mining.authorize"), None)
    assert up == SourceUp(table.options.name)
    assert isinstance(job, NewJob)
    assert job.replace
    assert (job.job.key, job.job.share_target) == ("early", DIFFICULTY_ONE // 4)


def almost_ready(*words: bytes, before_subscribed: bool = False) -> tuple[Table, list[NewJob]]:
    """A table whose pool says these words between the answer to subscribe (or just before it) and that to authorize."""
    table = Table()
    table.connect()
    table.answer(table.requests[-1], {"version-rolling": True, "version-rolling.mask": "1fffe000"})
    table.hear()
    subscribed = [[["mining.notify", "s1"]], "08000002", 4]
    if before_subscribed:
        table.say(*words)
        table.answer(table.last("mining.subscribe"), subscribed)
    else:
        table.answer(table.last("mining.subscribe"), subscribed)
        table.say(*words)
    table.hear()
    assert table.jobs == []
    table.answer(table.last("mining.authorize"), True)
    table.hear()
    return table, [effect for effect in table.effects if isinstance(effect, NewJob)]


@pytest.mark.parametrize("extranonce", [("0a0b0c0d", 4), ("0a", 7)])
def test_a_job_that_came_before_ready_keeps_the_extranonce_of_its_arrival(extranonce: tuple[str, int]) -> None:
    table, (early,) = almost_ready(
        notice("mining.set_difficulty", 2.0**-26), notify("early"), notice("mining.set_extranonce", *extranonce)
    )
    (request,) = table.submit(share_of(early.job))
    assert request["params"][1:3] == ["early", "01000000"]
    (next_job,) = table.say(notify("next"))
    assert isinstance(next_job, NewJob) and next_job.replace
    extranonce2 = bytes(extranonce[1])
    assert table.submit(share_of(next_job.job, extranonce2))[0]["params"][2] == extranonce2.hex()


def test_a_job_that_came_before_the_answer_to_subscribe_gets_the_extranonce_of_that_answer() -> None:
    table, (early,) = almost_ready(notice("mining.set_difficulty", 2.0**-26), notify(), before_subscribed=True)
    assert early.job.payload.under.extranonce1.hex() == "08000002"
    assert len(table.submit(share_of(early.job))) == 1


def test_a_job_and_its_extranonce_may_both_come_before_the_answer_to_subscribe() -> None:
    words = notice("mining.set_difficulty", 2.0**-26), notice("mining.set_extranonce", "0a0b0c0d", 4), notify()
    _, (early,) = almost_ready(*words, before_subscribed=True)
    assert early.job.payload.under.extranonce1.hex() == "0a0b0c0d"


def test_a_mask_that_comes_between_a_job_and_ready_holds_for_that_job() -> None:
    _, (early,) = almost_ready(notify(), notice("mining.set_version_mask", "00006000"))
    assert early.job.version_mask == 0x6000


def test_of_jobs_that_came_before_ready_each_keeps_its_own_words_and_its_clean_flag() -> None:
    table, jobs = almost_ready(
        notice("mining.set_difficulty", 2.0**-26),
        notify("1"),
        notice("mining.set_difficulty", 2.0**-27),
        notify("2"),
        notify("3", clean=True),
        notify("4"),
    )
    assert [(event.job.key, event.replace) for event in jobs] == [("1", True), ("2", False), ("3", True), ("4", False)]
    assert [event.job.payload.under.difficulty for event in jobs] == [2.0**-26, 2.0**-27, 2.0**-27, 2.0**-27]
    assert table.submit(share_of(jobs[1].job)) == []  # the clean third one ended it
    assert len(table.submit(share_of(jobs[2].job))) == 1


def test_a_flood_of_jobs_before_ready_leaves_the_newest() -> None:
    _, jobs = almost_ready(*[notify(str(number)) for number in range(1000)])
    assert [event.job.key for event in jobs] == [str(number) for number in range(1000 - EARLY_JOBS, 1000)]


def test_the_bar_is_raised_for_the_job_at_hand_with_the_extranonce_that_it_had() -> None:
    table = joined(share_rate=1.0, share_burst=2)
    job = easy(table, difficulty=2.0**-31)
    table.say(notice("mining.set_extranonce", "0a0b0c0d", 8), notice("mining.set_difficulty", 1e6))
    for number in range(4):
        table.submit(share_of(job, number.to_bytes(4, "little")))
    (harder,) = [event for event in table.tick(1.0) if isinstance(event, NewJob)]
    assert harder.job.payload.under == job.payload.under


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\U0001f600"])
def test_a_job_id_is_sent_back_or_refused_at_once_however_it_is_spelt(letter: str) -> None:
    table = joined(user="u" * 255)
    table.say(notice("mining.set_difficulty", 2.0**-31), notify(letter * 128))
    for job in table.jobs:
        table.submit(share_of(job))
    sent = [params[1] for params in submits(table)]
    assert sent == [job.key for job in table.jobs] == ([letter * 128] if letter == "x" else [])


def test_a_session_id_that_no_line_of_ours_holds_is_not_asked_for_again() -> None:
    table = Table()
    table.connect()
    table.answer(table.requests[-1], None)
    table.hear()
    table.answer(table.last("mining.subscribe"), [[["mining.notify", "\U0001f600" * 128]], "08000002", 4])
    table.pool.disconnected(Ending.CLOSED, "", table.now)
    table.connect()
    table.answer(table.last("mining.configure"), None)
    table.hear()
    assert len(table.last("mining.subscribe")["params"]) == 1


def test_a_user_with_which_a_share_would_not_fit_a_line_is_refused_before_mining() -> None:
    with pytest.raises(SourceMisconfigured, match="shorten user and password"):
        options(user="\u00e9" * 145)


def test_a_block_counts_for_no_more_than_it_is_worth_whatever_a_pool_claims() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 1e308), notify(nbits="207fffff"))
    (job,) = table.jobs
    share = share_of(replace(job, share_target=job.network_target), block=True)
    table.submit(share)
    table.answer(table.last("mining.submit"), True)
    assert table.answers[0].accepted
    assert table.answers[0].difficulty == Target(job.network_target).difficulty < 1


def test_difficulty_is_for_the_next_job_and_the_last_word_counts() -> None:
    table = joined()
    table.say(notify("1"))
    assert table.jobs[0].share_target == DIFFICULTY_ONE  # before a pool says anything
    table.say(notice("mining.set_difficulty", 4), notice("mining.set_difficulty", 16))
    assert len(table.jobs) == 1
    table.say(notice("mining.set_difficulty", -1), notice("mining.set_difficulty", True), notify("2"))
    assert table.jobs[1].share_target == DIFFICULTY_ONE // 16


def test_an_update_lets_older_shares_through_and_a_clean_job_does_not() -> None:
    table = joined()
    old = easy(table, notify("old"))
    table.say(notify("update"))
    assert len(table.submit(share_of(old))) == 1
    table.say(notify("clean", clean=True))
    assert table.submit(share_of(old, b"\2\0\0\0")) == []
    assert [answer.reason for answer in table.answers] == [Reason.STALE]
    assert len(table.submit(share_of(old, b"\3\0\0\0", block=True, stale=True))) == 1


def test_the_same_id_after_set_extranonce_is_new_work_and_the_old_kept_its_own() -> None:
    table = joined()
    old = easy(table)
    table.say(notice("mining.set_extranonce", "0a0b0c0d", 4))
    assert len(table.submit(share_of(old))) == 1
    (new,) = table.say(notify())
    assert isinstance(new, NewJob)
    assert new.replace
    assert len(table.submit(share_of(new.job))) == 1
    assert new.job.body != old.body


def test_a_changed_mask_counts_at_once() -> None:
    table = joined()
    old = easy(table)
    (again,) = table.say(notice("mining.set_version_mask", "00006000"))
    assert isinstance(again, NewJob)
    assert again.replace
    assert again.job.version_mask == 0x6000
    table.submit(share_of(again.job, version=0x20004000))
    assert submits(table)[-1][5] == "00004000"
    table.submit(share_of(old, version=0x20008000, block=True))
    assert table.answers[-1].reason is Reason.BAD_VERSION


def test_a_mask_with_signalling_bits_is_cut_down() -> None:
    table = joined()
    easy(table)
    table.say(notice("mining.set_version_mask", "ffffffff"))
    assert table.jobs[-1].version_mask == 0x1FFFE000


def test_bad_jobs_are_dropped_with_a_word_and_a_row_of_them_ends_it() -> None:
    table = joined()
    for number in range(BAD_JOBS - 1):
        table.say(notify(str(number), nbits="00000000"))
    table.say(notify("good"))
    assert table.left is None
    assert [job.key for job in table.jobs] == ["good"]
    assert table.said == ["job_refused"] * (BAD_JOBS - 1)
    for number in range(BAD_JOBS - 1):
        table.say(notify(str(number), nbits="00000000"))
    assert table.left is None, "the good job ended the row"
    table.say(notify("last", nbits="00000000"))
    assert table.left is not None and table.left.ending is Ending.NO_WORK


def test_a_pool_without_work_is_left() -> None:
    table = joined()
    easy(table)
    for _ in range(5):
        table.say(line(id=None, method="mining.hashrate", params=[]))
        table.tick(NO_WORK_S / 5)
    assert table.left is not None and table.left.ending is Ending.NO_WORK


def test_a_change_of_our_own_target_is_no_job_of_a_pool_without_work() -> None:
    table = joined(share_rate=0.001, share_burst=1)
    job = easy(table)
    for part in range(5):
        if part == 3:
            table.submit(share_of(job))
        table.say(line(id=None, method="mining.hashrate", params=[]))
        table.tick(NO_WORK_S / 5)
    assert "local_target_changed" in table.said
    assert table.left is not None and table.left.ending is Ending.NO_WORK


def test_a_pool_that_repeats_its_job_word_for_word_has_work() -> None:
    table = joined()
    easy(table)
    for _ in range(10):
        table.tick(NO_WORK_S / 5)
        table.say(notify("1"))
    assert table.left is None
    assert len(table.jobs) == 1


def test_a_coinbase_that_pays_somebody_else_is_said_once_or_refused() -> None:
    table = joined(payout_script=PAID)
    easy(table)
    assert "payout_missing" not in table.said
    table = joined(payout_script=b"\x51")
    easy(table, notify("1"), notify("2"))
    assert table.said.count("payout_missing") == 1
    assert len(table.jobs) == 2
    table = joined(payout_script=b"\x51", require_payout=True)
    table.say(notify())
    assert table.jobs == []
    assert "job_refused" in table.said


ODD = {"coinbase1": "00" * 60}


def test_an_odd_coinbase_is_mined_and_said_once_a_connection_with_the_reason() -> None:
    table = joined()
    for number in range(2 * BAD_JOBS):
        table.say(notify(str(number), **ODD))
    assert len(table.jobs) == 2 * BAD_JOBS
    assert table.left is None
    (odd,) = [effect for effect in table.effects if isinstance(effect, Say)]
    assert (odd.level, odd.event) == ("warning", "coinbase_odd")
    assert odd.fields == {"job": "0", "text": "it does not begin as a coinbase does"}


def test_an_odd_coinbase_cannot_be_proved_to_pay_and_is_refused_with_the_reason_where_that_is_required() -> None:
    table = joined(payout_script=PAID)
    table.say(notify("1", **ODD), notify("2", **ODD))
    assert len(table.jobs) == 2
    assert table.said == ["coinbase_odd", "payout_missing"]
    table = joined(payout_script=PAID, require_payout=True)
    table.say(notify("1", **ODD), notify("2"))
    assert [job.key for job in table.jobs] == ["2"]
    (refused,) = [effect for effect in table.effects if isinstance(effect, Say)]
    assert refused.event == "job_refused"
    assert refused.fields == {"text": "its coinbase cannot be read: it does not begin as a coinbase does"}


def test_a_complaint_about_no_request_is_shown_with_its_number_and_words() -> None:
    table = joined()
    complaint = {"id": None, "result": None, "error": [-3, "Unknown method", None]}
    (effect,) = table.say(line(**complaint))
    assert effect == Say("warning", "pool_complains", {"text": "error -3: Unknown method"})
    for _ in range(2 * LINES):
        table.say(line(**complaint))
    assert table.said.count("pool_complains") == LINES
    assert table.left is None


@pytest.mark.parametrize(
    "text", [b"\xfcbel", b"\xd6\xd8\xb8\xb4", b"\xd5\x5c", b"\\ud800", b"\x1b$B=E\x1b(B", b"a\tb"], ids=repr
)
def test_words_in_a_foreign_encoding_do_not_cost_a_share_its_verdict(text: bytes) -> None:
    table = joined()
    (request,) = table.submit(share_of(easy(table)))
    table.say(b'{"id":%d,"result":null,"error":[23,"%b",null]}\n' % (request["id"], text))
    (answer,) = table.answers
    assert answer.reason is Reason.LOW_DIFFICULTY
    assert answer.text.isprintable()


def test_a_job_whose_time_is_far_off_is_said() -> None:
    table = joined()
    table.say(notify(ntime="00000001"))
    assert "job_time_off" in table.said


# ---- version bits


def test_a_job_with_a_bit_inside_the_mask_makes_us_ask_for_less_and_holds_shares_until_answered() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-26), notify(version=0x30000000))
    (ask,) = table.hear()
    assert ask["method"] == "mining.configure"
    assert ask["params"][1]["version-rolling.mask"] == "0fffe000"
    share = share_of(table.jobs[-1], version=0x30006000)
    assert table.submit(share) == []
    table.answer(ask, {"version-rolling": True, "version-rolling.mask": "0fffe000"})
    assert [request["params"][5] for request in table.hear()] == ["00006000"]
    assert len(table.jobs) == 1  # nothing changed for devices
    table.say(notify("2", version=0x30000000))
    assert table.hear() == []


def test_a_block_does_not_wait_for_a_mask() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-26), notify(version=0x30000000))
    table.hear()
    assert len(table.submit(share_of(table.jobs[-1], block=True))) == 1


@pytest.mark.parametrize("answer", [{"version-rolling": True, "version-rolling.mask": "1fffe000"}, None, "silence"])
def test_a_pool_that_ignores_it_is_changed_over_after_at_most_eight(answer: Any) -> None:
    """A strict one: it replaces the bits under its mask."""
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-28), notify(version=0x30000000))
    (ask,) = table.hear()
    if answer == "silence":
        table.tick(MASK_ANSWER_S)
    else:
        table.answer(ask, answer)
    job, rejects = table.jobs[-1], 0
    for number in range(60):
        table.submit(share_of(job, number.to_bytes(4, "little"), version=0x30002000))
        if number % 3 < 2:
            continue  # some wait
        for request in [r for r in table.requests if r["method"] == "mining.submit"]:
            table.requests.remove(request)
            right = request["params"][5] == "10002000"
            rejects += not right
            table.answer(request, right or None, None if right else LOW)
            table.hear()
    assert table.said.count("version_bits_changed_over") == 1
    assert rejects <= 8
    assert table.pool.version_bits.style is Style.REPLACE
    assert [effect for effect in table.effects if isinstance(effect, Learnt)] == [Learnt(Style.REPLACE)]
    assert len(table.answers) >= 55
    assert [answer.accepted for answer in table.answers].count(False) == rejects
    table.hang_up()
    assert table.pool.version_bits.style is Style.REPLACE  # it stays the same pool


def test_what_was_learnt_before_is_where_it_begins() -> None:
    table = joined(learnt_bits=Style.REPLACE)
    table.say(notice("mining.set_difficulty", 2.0**-28), notify(version=0x30000000))
    table.answer(table.hear()[0], None)
    (request,) = table.submit(share_of(table.jobs[0], version=0x30002000))
    assert request["params"][5] == "10002000"


def test_an_answer_says_what_the_pool_counts_the_share_for_and_when_it_left() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-28), notify())
    share = share_of(table.jobs[0], found_at=table.now - 0.5)
    (request,) = table.submit(share)
    table.answer(request, True)
    assert (table.answers[0].difficulty, table.answers[0].sent_at) == (2.0**-28, table.now)


def test_a_share_that_is_too_easy_by_now_teaches_nothing() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-28), notify(version=0x30000000))
    table.answer(table.hear()[0], None)
    table.say(notice("mining.set_difficulty", 1e9))
    for number in range(20):
        for request in table.submit(share_of(table.jobs[0], number.to_bytes(4, "little"))):
            table.answer(request, None, LOW)
    assert len(table.answers) == 20
    assert "version_bits_changed_over" not in table.said


def test_a_block_refused_for_its_bits_is_sent_the_other_way_once() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 2.0**-28), notify(version=0x30000000))
    table.answer(table.hear()[0], None)
    (first,) = table.submit(share_of(table.jobs[0], version=0x30002000, block=True))
    table.answer(first, None, LOW)
    (second,) = table.hear()
    assert (first["params"][5], second["params"][5]) == ("00002000", "10002000")
    assert table.answers == []
    table.answer(second, True)
    assert [(answer.accepted, answer.block) for answer in table.answers] == [(True, True)]


def test_without_rolling_five_fields_are_sent() -> None:
    table = Table(mask=None)
    table.join()
    job = easy(table)
    assert job.version_mask == 0
    assert len(table.submit(share_of(job))[0]["params"]) == 5


# ---- shares


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"result": True, "error": None}, None),
        ({"result": None, "error": None}, Reason.OTHER),
        ({"result": False, "error": None, "reject-reason": "Above target"}, Reason.LOW_DIFFICULTY),
        ({"result": False, "error": None, "reject-reason": "Stale"}, Reason.STALE),
        ({"result": None, "error": [22, "Duplicate share", None]}, Reason.DUPLICATE),
        ({"result": False, "error": "Invalid JobID"}, Reason.STALE),
        ({"jsonrpc": "2.0", "error": {"code": 24, "message": "no", "data": None}}, Reason.UNAUTHORIZED),
        ({"result": "ok", "error": None}, Reason.OTHER),
    ],
)
def test_each_share_is_answered_once_with_its_reason(reply: dict[str, Any], reason: Reason | None) -> None:
    table = joined()
    (request,) = table.submit(share_of(easy(table)))
    table.say(line(id=request["id"], **reply), line(id=request["id"], **reply))
    (answer,) = table.answers
    assert (answer.accepted, answer.reason) == (reason is None, reason)


def test_a_bare_block_that_a_pool_refuses_is_called_one() -> None:
    table = joined()
    table.say(notice("mining.set_difficulty", 1e6), notify(nbits="207fffff"))
    (job,) = table.jobs
    bare = replace(share_of(replace(job, share_target=job.network_target), block=True), job=job)
    (request,) = table.submit(bare)
    table.answer(request, None, LOW)
    assert [answer.reason for answer in table.answers] == [Reason.LOW_DIFFICULTY]
    assert table.said == ["bare_block_refused"]


def test_a_number_for_a_job_goes_back_as_a_number() -> None:
    table = joined()
    assert table.submit(share_of(easy(table, notify(7))))[0]["params"][1] == 7


def test_a_share_that_cannot_be_proved_never_leaves() -> None:
    table = joined()
    share = share_of(easy(table))
    assert table.submit(replace(share, nonce=share.nonce ^ 1)) == []
    assert table.answers[0].reason is Reason.MALFORMED
    assert "share_unsound" in table.said


def test_what_is_not_answered_in_time_is_given_up_and_a_late_answer_is_ignored() -> None:
    table = joined(silence_s=1e9)
    (request,) = table.submit(share_of(easy(table)))
    table.tick(ANSWER_S - 1)
    assert table.answers == []
    table.tick(1.0)
    table.answer(request, True)
    assert [answer.reason for answer in table.answers] == [Reason.UNANSWERED]
    assert table.pool.quiet


def test_an_unauthorized_share_makes_us_authorize_once_and_then_leave() -> None:
    table = joined()
    job = easy(table)
    for expected in ("mining.authorize", None):
        (request,) = table.submit(share_of(job, bytes([4, 0, 0, 0 if expected else 1])))
        table.answer(request, None, [24, "Unauthorized worker", None])
        assert methods(table.hear()) == ([expected] if expected else [])
    assert table.left is not None and table.left.ending is Ending.NOT_AUTHORIZED


def test_not_subscribed_means_come_again() -> None:
    table = joined()
    (request,) = table.submit(share_of(easy(table)))
    table.answer(request, None, [25, "Not subscribed", None])
    assert table.left is not None and table.left.ending is Ending.NOT_SUBSCRIBED


# ---- connections


def away_with(*shares: int, session: str | None = "s1") -> tuple[Table, list[Share]]:
    """A table whose connection was lost with shares under way."""
    table = Table()
    table.join(session=session)
    job = easy(table)
    sent = [share_of(job, number.to_bytes(4, "little")) for number in shares]
    for share in sent:
        table.submit(share)
    table.hang_up()
    told = [effect for effect in table.effects if not isinstance(effect, Say)]
    assert isinstance(told[-1 if session else -1 - len(sent)], SourceDown)
    return table, sent


def test_a_resumed_session_gets_what_was_under_way_and_what_was_found_since() -> None:
    table, (first, second) = away_with(1, 2)
    third = share_of(first.job, b"\3\0\0\0")
    assert table.submit(third) == []
    assert table.answers == []
    table.requests.clear()
    table.join()
    assert table.last("mining.subscribe")["params"][1] == "s1"
    table.tick()
    table.hear()
    assert [params[2] for params in submits(table)] == [s.extranonce2.hex() for s in (first, second, third)]


@pytest.mark.parametrize(("tip", "replaces"), [(PREV_HASH, False), (OTHER_HASH, True)])
def test_after_a_resumption_devices_may_still_hand_in_what_they_find_on_the_same_tip(
    tip: str, *, replaces: bool
) -> None:
    table, (share,) = away_with(1)
    table.join()
    table.say(notify("again", prev_hash=tip, clean=True))
    assert table.jobs[-1] is not share.job
    assert table.jobs[-1].session == share.job.session
    assert [effect.replace for effect in table.effects if isinstance(effect, NewJob)][-1] is replaces
    late = share_of(share.job, b"\7\0\0\0")
    table.submit(late)
    assert (late.extranonce2.hex() in [params[2] for params in submits(table)]) is not replaces


@pytest.mark.parametrize(("tip", "delivered"), [(PREV_HASH, 1), (OTHER_HASH, 0)])
def test_the_first_job_after_a_resumption_kills_shares_only_with_another_tip(tip: str, delivered: int) -> None:
    table, _ = away_with(1)
    table.requests.clear()
    table.connect()
    table.answer(table.requests[-1], {})
    table.hear()
    table.answer(table.last("mining.subscribe"), [[["mining.notify", "s1"]], "08000002", 4])
    table.hear()
    request = table.last("mining.authorize")
    table.say(line(id=request["id"], result=True, error=None) + notify("first", prev_hash=tip, clean=True))
    table.hear()
    assert len(submits(table)) == delivered
    assert [answer.reason for answer in table.answers] == [Reason.UNANSWERED] * (1 - delivered)


def test_a_share_that_had_arrived_before_the_connection_was_lost_is_no_duplicate() -> None:
    table, _ = away_with(1)
    table.join()
    table.tick()
    resent = table.last("mining.submit")
    (fresh,) = table.submit(share_of(easy(table), b"\2\0\0\0"))
    table.answer(resent, None, [22, "Duplicate share", None])
    table.answer(fresh, None, [22, "Duplicate share", None])
    assert [answer.reason for answer in table.answers] == [None, Reason.DUPLICATE]


def test_a_new_session_gets_nothing_of_the_old() -> None:
    table, shares = away_with(1, 2)
    table.requests.clear()
    table.join(extranonce1="ffffffff")
    table.tick()
    table.hear()
    assert submits(table) == []
    assert [(a.share_id, a.reason) for a in table.answers] == [(share.id, Reason.UNANSWERED) for share in shares]
    assert table.submit(share_of(shares[0].job, b"\4\0\0\0")) == []
    assert table.answers[-1].reason is Reason.UNANSWERED


def test_without_a_session_id_nothing_is_waited_for() -> None:
    table, _ = away_with(1, session=None)
    assert [answer.reason for answer in table.answers] == [Reason.UNANSWERED]
    assert table.pool.quiet


def test_what_waits_for_a_connection_is_given_up_in_time() -> None:
    table, (share,) = away_with(1)
    table.tick(ANSWER_S)
    assert [answer.share_id for answer in table.answers] == [share.id]


def test_difficulty_and_mask_do_not_outlive_a_connection() -> None:
    table = joined()
    easy(table)
    table.hang_up()
    table.mask = None
    table.join()
    table.say(notify())
    assert (table.jobs[-1].share_target, table.jobs[-1].version_mask) == (DIFFICULTY_ONE, 0)


def test_a_pool_that_hangs_up_on_configure_is_not_asked_again() -> None:
    table = Table()
    table.connect()
    assert table.hang_up()
    table.join()
    assert methods(table.requests[1:]).count("mining.configure") == 1  # once more, for it may have been by chance
    assert table.hang_up()
    for _ in range(2):
        before = len(table.requests)
        table.join()
        assert "mining.configure" not in methods(table.requests[before:])
        table.hang_up()


def test_a_pool_that_hung_up_on_configure_by_chance_rolls_versions_all_the_same() -> None:
    table = Table()
    table.connect()
    assert table.hang_up()
    table.join()
    job = easy(table)
    assert job.version_mask == 0
    table.submit(share_of(job))
    assert submits(table) == []  # nobody knows yet whether it has five parameters or six
    rolling = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
    table.answer(table.last("mining.configure"), rolling)
    assert table.jobs[-1].version_mask == 0x1FFFE000
    table.hear()
    assert [len(params) for params in submits(table)] == [6]
    table.tick(60.0)
    table.hang_up()
    table.connect()
    assert methods(table.requests)[-1] == "mining.configure"


def test_a_pool_that_is_silent_on_the_second_configure_is_asked_anew_by_the_next_connection() -> None:
    table = Table()
    table.connect()
    assert table.hang_up()
    table.join()
    table.tick(60.0)
    table.hang_up()
    table.connect()
    assert methods(table.requests)[-1] == "mining.configure"


def test_a_pool_that_hangs_up_on_everything_has_nothing_against_configure() -> None:
    table = Table()
    table.connect()
    assert table.hang_up()
    table.connect()
    assert methods(table.requests)[-1] == "mining.subscribe"
    assert not table.hang_up()
    table.connect()
    assert methods(table.requests)[-1] == "mining.configure"


@pytest.mark.parametrize("how", ["error", "hangs up"])
def test_a_pool_that_dislikes_resuming_is_not_asked_to(how: str) -> None:
    table, _ = away_with(1)
    table.connect()
    table.answer(table.requests[-1], {})
    table.hear()
    subscribe = table.last("mining.subscribe")
    assert len(subscribe["params"]) == 2
    if how == "error":
        (leave,) = table.answer(subscribe, None, [20, "too many parameters", None])
        assert isinstance(leave, Leave)
        assert table.hang_up(leave.ending)
    else:
        assert table.hang_up()
    assert table.answers[-1].reason is Reason.UNANSWERED
    table.join()
    assert len(table.last("mining.subscribe")["params"]) == 1


def test_a_pool_that_hangs_up_on_extranonce_subscribe_is_not_asked_again() -> None:
    table = joined()
    assert table.last("mining.extranonce.subscribe")
    assert table.hang_up()
    table.requests.clear()
    table.join()
    assert "mining.extranonce.subscribe" not in methods(table.requests)


@pytest.mark.parametrize("answered", [True, False])
def test_a_difficulty_is_suggested_once_the_question_before_it_cannot_be_what_a_pool_hangs_up_on(
    *, answered: bool
) -> None:
    table = joined(suggest_difficulty=512.0)
    assert "mining.suggest_difficulty" not in methods(table.requests)
    if answered:
        table.answer(table.last("mining.extranonce.subscribe"), None, [20, "Not supported.", None])
    else:
        table.tick(HANGS_UP_S - 0.1)
        assert table.hear() == []
        table.tick(0.1)
    (suggest,) = table.hear()
    assert (suggest["method"], suggest["params"]) == ("mining.suggest_difficulty", [512])


def test_a_redirection_leads_there_and_a_bad_one_is_said() -> None:
    table = joined()
    table.say(notice("client.reconnect", "evil.org", 3333, 0))
    assert table.left is None
    assert "redirect_refused" in table.said
    table.say(notice("client.reconnect", "eu.pool.example.com", 4444, 5), notify())
    assert table.left is not None and table.left.to is not None
    assert (table.left.to.host, table.left.to.port, table.left.to.wait_s) == ("eu.pool.example.com", 4444, 5)


def test_talkative_pools_do_not_fill_the_log() -> None:
    table = joined()
    table.say(*[notice("client.show_message", "hello \x1b[2J")] * 1000)
    assert len(table.said) == LINES
    table.now += 60
    table.say(notice("client.show_message", "again"))
    assert len(table.said) == LINES + 1


def test_nothing_said_holds_the_password() -> None:
    table = Table(options(user="me", password="hunter2"))
    assert "hunter2" not in repr(table.options)
    assert "hunter2" not in repr(table.pool.connected)
    table.join()
    table.say(b"garbage\n", notice("client.show_message", "hi"))
    assert "hunter2" not in repr(table.effects)


# ---- rate


def test_a_flood_of_shares_is_slowed_down_but_not_first_shares_and_blocks() -> None:
    table = joined(share_rate=10.0, share_burst=20)
    job = easy(table, difficulty=2.0**-31)
    for number in range(60):
        table.submit(share_of(job, number.to_bytes(4, "little")))
    assert len(submits(table)) == 20
    table.submit(share_of(job, b"\0\0\0\1", block=True))
    assert len(submits(table)) == 21
    table.say(notify("2"))
    table.submit(share_of(table.jobs[-1], b"\0\0\0\2"))
    assert len(submits(table)) == 22
    harder = [event for event in table.tick(1.0) if isinstance(event, NewJob)]
    assert [event.replace for event in harder] == [False]
    assert harder[0].job.share_target * 2 == pytest.approx(job.share_target, rel=1e-9)
    for _ in range(10):
        table.tick(1.0)
        table.hear()
    assert len(submits(table)) == 62
    assert table.answers == []


def test_held_shares_of_a_dead_job_are_not_sent() -> None:
    table = joined(share_rate=1.0, share_burst=1)
    job = easy(table, difficulty=2.0**-31)
    for number in range(5):
        table.submit(share_of(job, number.to_bytes(4, "little")))
    table.say(notify("2", prev_hash=OTHER_HASH))
    assert [answer.reason for answer in table.answers] == [Reason.STALE] * 4
    assert len(submits(table)) == 1


def test_a_day_of_jobs_and_shares_keeps_nothing() -> None:
    table = joined(silence_s=1e9)
    table.say(notice("mining.set_difficulty", 2.0**-31))
    for minute in range(24 * 60):
        table.say(notify(f"{minute:x}", clean=minute % 10 == 0))
        (request,) = table.submit(share_of(table.jobs[-1]))
        table.answer(request, True)
        table.requests.clear()
        table.effects = table.effects[-2:]
        table.tick(60.0)
    connection = table.pool._connection
    assert connection is not None
    assert len(connection.maker._known) <= 64
    assert len(table.pool._delivery._begun) <= 4096
    assert not connection.client.waiting_for - {next(iter(connection.client.waiting_for), None)}
    assert table.pool.quiet


_words = st.sampled_from(
    [
        notify("1"),
        notify("1", clean=True),
        notify("2", version=0x3FFFE000),
        notify("3", nbits="00000000"),
        notify("4", coinbase1=""),
        notice("mining.set_difficulty", 1e-300),
        notice("mining.set_difficulty", 1e300),
        notice("mining.set_extranonce", "", 16),
        notice("mining.set_extranonce", "00" * 32, 1),
        notice("mining.set_version_mask", "ffffffff"),
        notice("mining.set_version_mask", "0"),
        notice("client.reconnect"),
        notice("client.reconnect", "x", "y", "z"),
        b"\xff\n",
        *(line(id=i, result=result, error=None) for i in range(1, 7) for result in (True, None, False)),
        *(line(id=i, result={"version-rolling": True, "version-rolling.mask": "f0000000"}) for i in (1, 5, 6)),
        *(line(id=i, result=[[["mining.notify", "s"]], "08000002", 4]) for i in (1, 2)),
        *(line(id=i, error=[23, "low", None]) for i in range(1, 7)),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_words | st.none() | st.just(b""), max_size=30))
def test_no_order_of_messages_raises_and_every_share_is_answered_at_most_once(words: list[bytes | None]) -> None:
    table = Table()
    table.connect()
    for word in words:
        if word is None:
            table.hang_up()
            table.connect()
        elif word:
            table.say(word)
        elif table.jobs and table.jobs[-1].share_target > 1 << 250:
            table.submit(share_of(table.jobs[-1], bytes(table.jobs[-1].body.extranonce2_size)))  # type: ignore[union-attr]
        table.tick(20.0)
        table.hear()
    ids = [answer.share_id for answer in table.answers]
    assert len(ids) == len(set(ids))


# ---- the end of a connection


def test_a_connection_that_is_left_sends_nothing_more_and_shares_wait_for_the_next() -> None:
    table = joined()
    job = easy(table)
    table.say(notice("client.reconnect", "", 4444, 5))
    assert table.left is not None
    assert table.submit(share_of(job)) == []
    table.say(notify("2"))
    table.tick(NO_WORK_S - 1)
    assert len(table.jobs) == 1
    assert [effect for effect in table.effects if isinstance(effect, Leave)] == [table.left]
    assert table.hear() == []


def test_one_connection_that_is_left_for_silence_counts_once_however_long_it_takes_to_close() -> None:
    table = joined()
    table.submit(share_of(easy(table)))
    for _ in range(100):
        table.tick(1.0)
    leaves = [effect for effect in table.effects if isinstance(effect, Leave)]
    assert [leave.ending for leave in leaves] == [Ending.UNANSWERED]


def test_bad_jobs_before_the_connection_is_ready_end_it_once() -> None:
    table = Table()
    table.connect()
    table.answer(table.requests[-1], None, [20, "no", None])
    table.hear()
    table.answer(table.last("mining.subscribe"), [[], "08000002", 4])
    table.hear()
    table.say(*[notify(str(number), nbits="00000000") for number in range(EARLY_JOBS)], notify("good"))
    table.answer(table.last("mining.authorize"), True)
    table.say(notify("late"))
    assert table.left is not None and table.left.ending is Ending.NO_WORK
    assert "late" not in [job.key for job in table.jobs]


@pytest.mark.parametrize("says", ["refused", "mask of 0"])
def test_a_pool_that_rolls_no_versions_when_asked_again_gets_shares_of_five_fields(says: str) -> None:
    table = Table()
    table.connect()
    assert table.hang_up()  # it closed on configure
    table.join()
    ask = table.last("mining.configure")
    granted = {"version-rolling": says != "refused", "version-rolling.mask": "00000000"}
    table.answer(ask, granted)
    table.hear()
    (request,) = table.submit(share_of(easy(table)))
    assert len(request["params"]) == 5
