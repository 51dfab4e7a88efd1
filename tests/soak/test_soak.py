"""What the soak counts as lost and as wrong."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest

from tests.soak import vitals
from tests.soak.journal import Judged, Presence, WatchedPool, unexplained
from tests.soak.judge import Fate, Hit, examine
from tests.virtual.pool_judge import Reason, Verdict, target_of
from tests.virtual.pool_terms import Terms

SOON, LATE = 1.0, 100.0


def pool(**terms: Any) -> WatchedPool:
    return WatchedPool.under(Terms(difficulty=2.0**-30, **terms), "virtual")


class Wire:
    """A connection on which nobody is."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def later(self, delay_s: float, call: Any) -> None: ...


def joined(model: WatchedPool) -> Any:
    session = model.connect(Wire())
    for number, (method, params) in enumerate([("mining.subscribe", ["x"]), ("mining.authorize", ["user", "x"])]):
        session.receive(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
    return session


def hit(model: WatchedPool, session: Any) -> Hit:
    """On the newest job of this client."""
    job = next(reversed(session.seat.jobs.values()))
    for nonce in range(1 << 20):
        found = Hit(time.monotonic(), job.header("00000000", job.ntime, nonce, job.version), "00000000", 1)
        if found.hash <= target_of(job.difficulty):
            return found
    raise AssertionError


def submit(session: Any, found: Hit) -> None:
    job = next(reversed(session.seat.jobs))
    params = ["user", *found.fields(job)]
    session.receive(json.dumps({"id": 9, "method": "mining.submit", "params": params}).encode() + b"\n")


def test_a_share_that_never_arrived_is_lost_if_there_was_time_and_a_client_to_hand_it_in() -> None:
    model = pool(rolling=None)
    session = joined(model)
    found = hit(model, session)
    at = found.at
    assert examine([found], [model], at + LATE).lost
    assert not examine([found], [model], at + SOON).lost
    submit(session, found)
    findings = examine([found], [model], at + LATE)
    assert (findings.lost, findings.wrong, findings.accepted) == ([], [], 1)


def test_what_a_new_parent_or_the_end_of_a_session_prevents_is_no_loss() -> None:
    model = pool(rolling=None)
    found = hit(model, joined(model))
    at = found.at
    model.begun.append(at + SOON)
    assert examine([found], [model], at + LATE).fates == {Fate.STALE: 1}
    model.begun[-1] = at + LATE
    model.presences[-1].until = at - SOON
    assert examine([found], [model], at + LATE).fates == {Fate.SESSION_OVER: 1}
    seat = model.presences[-1].seat
    model.presences.append(Presence(seat, at + SOON, 0))  # resumed
    assert examine([found], [model], at + LATE).fates == {Fate.DUE: 1}


def test_work_that_no_pool_gave_is_wrong() -> None:
    model = pool()
    found = hit(model, joined(model))
    spoilt = Hit(found.at, found.header[:40] + b"\xff" + found.header[41:], found.extranonce2, 1)
    assert examine([spoilt], [model], found.at + LATE).wrong


@pytest.mark.parametrize(
    ("reason", "circumstances", "wrong"),
    [
        (None, {}, False),
        (Reason.STALE, {"generation_age_s": SOON}, False),
        (Reason.STALE, {"presence_age_s": SOON}, False),
        (Reason.STALE, {"told": False}, False),
        (Reason.STALE, {}, True),
        (Reason.UNKNOWN_JOB, {}, True),
        (Reason.DUPLICATE, {"repeated": True}, False),
        (Reason.DUPLICATE, {}, True),
        (Reason.LOW_DIFFICULTY, {}, True),
        (Reason.NTIME, {}, True),
        (Reason.UNAUTHORIZED, {}, True),
    ],
)
def test_a_refusal_must_have_a_reason_that_a_good_miner_may_give(
    reason: Reason | None, circumstances: dict[str, Any], *, wrong: bool
) -> None:
    fields: dict[str, Any] = {"generation_age_s": LATE, "presence_age_s": LATE, "told": True, "repeated": False}
    judged = Judged(0.0, ("1", "00", "0" * 8, "0" * 8), Verdict("", "1", reason, 0), **fields | circumstances)  # type: ignore[arg-type]
    assert unexplained(pool(), judged, Counter(), patience_s=5.0) is wrong


def test_eight_low_difficulty_refusals_may_teach_how_version_bits_are_read() -> None:
    judged = Judged(
        0.0,
        ("1", "00", "", ""),
        Verdict("", "1", Reason.LOW_DIFFICULTY, 0),
        LATE,
        LATE,
        told=True,
        repeated=False,  # type: ignore[arg-type]
    )
    learning: Counter[str] = Counter()
    model = pool(version=0x30000000)
    assert [unexplained(model, judged, learning, patience_s=5.0) for _ in range(9)] == [False] * 8 + [True]


def test_a_broken_rule_of_the_protocol_is_wrong_unless_somebody_else_sent_a_tls_hello() -> None:
    model = pool()
    model.connect(Wire()).receive(b"\x16\x03\x01\n")
    assert examine([], [model], 0.0).wrong == ["virtual: not_json, 1 times"]
    model.hellos = 1
    assert examine([], [model], 0.0).wrong == []


def test_growth_is_what_a_line_through_the_second_half_says() -> None:
    def run(*resident: int) -> list[vitals.Sample]:
        return [vitals.Sample(10.0 * x, mib << 20, 10, 5) for x, mib in enumerate(resident)]

    assert vitals.complaints(run(100, 200, 200, 200)) == []
    assert "memory" in vitals.complaints(run(100, 120, 140, 180))[0]
    files = [*run(1, 1, 1), vitals.Sample(40.0, 1 << 20, 15, 5)]
    assert vitals.complaints(files) == ["open files rose from 10 to 15"]
