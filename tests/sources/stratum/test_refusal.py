from __future__ import annotations

import pytest

from miner.sources.stratum.refusal import reason_of
from miner.work.share import Reason


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (21, "anything", Reason.STALE),
        (22, "", Reason.DUPLICATE),
        (23, "", Reason.LOW_DIFFICULTY),
        (24, "", Reason.UNAUTHORIZED),
        (25, "", Reason.NOT_SUBSCRIBED),
        (None, "Stale", Reason.STALE),
        (None, "Invalid JobID", Reason.STALE),
        (20, "Job not found", Reason.STALE),
        (None, "Duplicate", Reason.DUPLICATE),
        (None, "Above target", Reason.LOW_DIFFICULTY),
        (20, "high-hash", Reason.LOW_DIFFICULTY),
        (20, "Difficulty too low", Reason.LOW_DIFFICULTY),
        (20, "Low difficulty share", Reason.LOW_DIFFICULTY),
        (None, "Worker mismatch", Reason.UNAUTHORIZED),
        (None, "Ntime out of range", Reason.BAD_TIME),
        (20, "time-too-new", Reason.BAD_TIME),
        (20, "Invalid version mask", Reason.BAD_VERSION),
        (None, "Invalid nonce2 length", Reason.MALFORMED),
        (None, "No nonce", Reason.MALFORMED),
        (20, "Not subscribed", Reason.NOT_SUBSCRIBED),
        (-2, "", Reason.OTHER),
        (20, "incorrect size of extranonce2", Reason.MALFORMED),
        (23, "low difficulty share of 0.5", Reason.LOW_DIFFICULTY),
        (23, "Difficulty too low", Reason.LOW_DIFFICULTY),
        (21, "Job not found (=stale)", Reason.STALE),
        (27, "Illegal params", Reason.MALFORMED),
        (31, "Time too old", Reason.BAD_TIME),
        (33, "Invalid version mask", Reason.BAD_VERSION),
    ],
)
def test_what_pools_say_of_a_share_has_a_reason(code: int | None, text: str, reason: Reason) -> None:
    assert reason_of(code, text) is reason


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (20, "unknown-work", Reason.STALE),
        (21, "stale-work", Reason.STALE),
        (21, "stale-prevblk", Reason.STALE),
        (21, "time-too-old", Reason.BAD_TIME),
        (21, "time-too-new", Reason.BAD_TIME),
        (22, "duplicate", Reason.DUPLICATE),
        (23, "bad-version", Reason.BAD_VERSION),
        (23, "high-hash", Reason.LOW_DIFFICULTY),
        (23, "H-not-zero", Reason.LOW_DIFFICULTY),
    ],
)
def test_what_a_datum_gateway_says_goes_by_its_words(code: int, text: str, reason: Reason) -> None:
    assert reason_of(code, text) is reason


@pytest.mark.parametrize(
    ("code", "text", "reason"),
    [
        (21, "invalid share", Reason.STALE),
        (22, "this nonce was here before", Reason.DUPLICATE),
        (23, "Invalid share: block version 2", Reason.LOW_DIFFICULTY),
        (24, "parameter 0", Reason.UNAUTHORIZED),
        (23, "\u96be\u5ea6\u592a\u4f4e", Reason.LOW_DIFFICULTY),
        (20, "invalid share", Reason.MALFORMED),
        (None, "invalid share", Reason.MALFORMED),
    ],
)
def test_a_word_that_names_no_reason_yields_to_the_number(code: int | None, text: str, reason: Reason) -> None:
    assert reason_of(code, text) is reason
