"""What a pool's refusal of a share means, by the pool's words first and by its number second.

The numbers 21 to 25 are common, but not what each pool means by them: a DATUM gateway says 23 "bad-version" and 21
"time-too-old". Words that name one reason therefore decide before the number. Words that occur in refusals of several
kinds, as "invalid", decide only where the number says nothing.
Facts: sources of DATUM gateway, ckpool, public-pool, NOMP and btcpool; quirks in docs/quirks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from miner.work.share import Reason

# The first that occurs in the text decides. ckpool: "Invalid JobID", "Above target", "Ntime out of range", "Worker
# mismatch"; DATUM: "unknown-work", "stale-prevblk", "H-not-zero"; btcpool: "Time too old", "Invalid version mask".
_NAMES: tuple[tuple[str, Reason], ...] = (
    ("duplicate", Reason.DUPLICATE),
    ("bad-version", Reason.BAD_VERSION),
    ("version mask", Reason.BAD_VERSION),
    ("version bit", Reason.BAD_VERSION),
    ("version roll", Reason.BAD_VERSION),
    ("version-roll", Reason.BAD_VERSION),
    ("invalid version", Reason.BAD_VERSION),
    ("ntime", Reason.BAD_TIME),
    ("time-too", Reason.BAD_TIME),
    ("time too", Reason.BAD_TIME),
    ("time out of range", Reason.BAD_TIME),
    ("stale", Reason.STALE),
    ("job not found", Reason.STALE),
    ("unknown-work", Reason.STALE),
    ("jobid", Reason.STALE),
    ("job id", Reason.STALE),
    ("unknown job", Reason.STALE),
    ("invalid job", Reason.STALE),
    ("low diff", Reason.LOW_DIFFICULTY),
    ("low-diff", Reason.LOW_DIFFICULTY),
    ("difficulty too low", Reason.LOW_DIFFICULTY),
    ("above target", Reason.LOW_DIFFICULTY),
    ("high-hash", Reason.LOW_DIFFICULTY),
    ("h-not-zero", Reason.LOW_DIFFICULTY),
    ("unauthori", Reason.UNAUTHORIZED),
    ("not authori", Reason.UNAUTHORIZED),
    ("worker mismatch", Reason.UNAUTHORIZED),
    ("not subscribed", Reason.NOT_SUBSCRIBED),
)
_BY_NUMBER: Mapping[int, Reason] = MappingProxyType(
    {
        21: Reason.STALE,
        22: Reason.DUPLICATE,
        23: Reason.LOW_DIFFICULTY,
        24: Reason.UNAUTHORIZED,
        25: Reason.NOT_SUBSCRIBED,
    }
)
_HINTS: tuple[tuple[str, Reason], ...] = (
    ("version", Reason.BAD_VERSION),
    ("not found", Reason.STALE),
    ("mismatch", Reason.UNAUTHORIZED),
    ("subscribed", Reason.NOT_SUBSCRIBED),
    ("nonce", Reason.MALFORMED),
    ("invalid", Reason.MALFORMED),
    ("illegal", Reason.MALFORMED),
    ("malformed", Reason.MALFORMED),
    ("parameter", Reason.MALFORMED),
)


def reason_of(code: int | None, text: str) -> Reason:
    """The reason behind a refused share: what its words name, else its number, else what its words hint at."""
    lower = text.lower()
    named = _first(_NAMES, lower)
    if named is None and code is not None:
        named = _BY_NUMBER.get(code)
    return named or _first(_HINTS, lower) or Reason.OTHER


def _first(table: tuple[tuple[str, Reason], ...], text: str) -> Reason | None:
    return next((reason for part, reason in table if part in text), None)
