"""What a meter answers, judged at the door: watts, counters, or a sentence why it is neither."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Protocol

from miner.power.energy import MOST_W
from miner.power.errors import Nonsense

WH_J = 3600.0
ANSWER_MAX = 1 << 16  # bytes; the largest of these devices tells all it knows in 8 KiB
_SAID_MAX = 40  # characters of nonsense that are repeated


@dataclass(frozen=True, slots=True)
class Counter:
    """A meter's own count of energy. `range_j`: where it starts again at 0; `step_j`: what it counts in."""

    joules: float
    range_j: float | None = None
    step_j: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading, at the time it was taken (seconds, monotonic)."""

    at: float
    watts: float | None = None
    counters: tuple[Counter, ...] = ()


class Meter(Protocol):
    """Something that can be read. One thread uses it at a time."""

    @property
    def name(self) -> str: ...

    def read(self, timeout_s: float) -> Sample:
        """The newest reading, within that time whatever the other side does. Raises PowerError."""
        ...

    def close(self) -> None:
        """Let go of connections; it may be read again."""
        ...


def watts(value: object, who: str) -> float:
    """Power that can be meant. Raises Nonsense."""
    number = _number(value)
    if number is None or number > MOST_W:
        raise Nonsense(f"{who} says {_said(value)} where its power should be")
    if number < 0:
        raise Nonsense(f"{who} says {number:g} W: power that flows the other way is none of a miner's; is it wired so?")
    return number


def joules(value: object, who: str, scale: float) -> float:
    """A counter that can be meant, `scale` joules to each count. Raises Nonsense."""
    number = _number(value)
    if number is None or number < 0 or not math.isfinite(number * scale):
        raise Nonsense(f"{who} says {_said(value)} where its energy should be")
    return number * scale


def decoded(content: bytes, who: str) -> Any:
    """An answer in JSON, where a name in another encoding than UTF-8 does not matter. Raises Nonsense."""
    if len(content) > ANSWER_MAX:
        raise Nonsense(f"{who} answers more than {ANSWER_MAX} bytes")
    try:
        return json.loads(content.decode(json.detect_encoding(content), errors="replace"))
    except (ValueError, RecursionError) as error:
        raise Nonsense(f"{who} does not answer in JSON") from error


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _said(value: object) -> str:
    """Nonsense, short enough for a log line; it may be a number of thousands of digits, which Python will not print."""
    try:
        return ascii(value)[:_SAID_MAX]
    except (ValueError, RecursionError):
        return "something"
