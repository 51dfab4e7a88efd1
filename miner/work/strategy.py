"""Which of several sources is mined on. A strategy is a function of what the sources can do now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source as a strategy sees it; candidates come in configured order."""

    name: str
    ready: bool  # connected, and has sent a job since


Strategy = Callable[[Sequence[Candidate], float], str | None]  # candidates, now -> the name, None: none of them


def first_ready(candidates: Sequence[Candidate], now: float) -> str | None:  # noqa: ARG001, this one needs no time
    """The first in configured order that can be mined on."""
    return next((candidate.name for candidate in candidates if candidate.ready), None)
