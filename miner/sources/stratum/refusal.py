"""What a pool's refusal of a share means. Facts: protocols.md B.3; quirks in docs/quirks.md."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from miner.work.share import Reason

_BY_CODE: Mapping[int, Reason] = MappingProxyType(
    {
        21: Reason.STALE,
        22: Reason.DUPLICATE,
        23: Reason.LOW_DIFFICULTY,
        24: Reason.UNAUTHORIZED,
        25: Reason.NOT_SUBSCRIBED,
    }
)
# The first that occurs in the text decides. ckpool: "Invalid JobID", "Above target", "Ntime out of range", "Worker
# mismatch", "Invalid nonce2 length"; others: "Job not found", "time-too-new", "high-hash", ...
_BY_TEXT: tuple[tuple[str, Reason], ...] = (
    ("duplicate", Reason.DUPLICATE),
    ("version", Reason.BAD_VERSION),
    ("ntime", Reason.BAD_TIME),
    ("time-too", Reason.BAD_TIME),
    ("time out of range", Reason.BAD_TIME),
    ("stale", Reason.STALE),
    ("not found", Reason.STALE),
    ("jobid", Reason.STALE),
    ("job id", Reason.STALE),
    ("unknown job", Reason.STALE),
    ("invalid job", Reason.STALE),
    ("low diff", Reason.LOW_DIFFICULTY),
    ("difficulty too low", Reason.LOW_DIFFICULTY),
    ("above target", Reason.LOW_DIFFICULTY),
    ("high-hash", Reason.LOW_DIFFICULTY),
    ("unauthori", Reason.UNAUTHORIZED),
    ("not authori", Reason.UNAUTHORIZED),
    ("mismatch", Reason.UNAUTHORIZED),
    ("subscribed", Reason.NOT_SUBSCRIBED),
    ("nonce", Reason.MALFORMED),
    ("invalid", Reason.MALFORMED),
    ("malformed", Reason.MALFORMED),
    ("parameter", Reason.MALFORMED),
)


def reason_of(code: int | None, text: str) -> Reason:
    """The reason behind a refused share: by its code, or else by its words."""
    if code is not None and code in _BY_CODE:
        return _BY_CODE[code]
    lower = text.lower()
    return next((reason for part, reason in _BY_TEXT if part in lower), Reason.OTHER)
