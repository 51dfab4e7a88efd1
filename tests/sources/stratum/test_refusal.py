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
    ],
)
def test_what_pools_say_of_a_share_has_a_reason(code: int | None, text: str, reason: Reason) -> None:
    assert reason_of(code, text) is reason
