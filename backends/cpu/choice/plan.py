"""Decides the next step about kernels: compile and examine one, race some, use the winner. No thread, no clock.

    cold:   Prove(quick starter) -> Use -> for each of the others, the best by reputation first:
                Prove(it) -> Race(it and what is in use) -> Use(the winner)
    warm:   Use(remembered winner)

Reputation (the order of candidates) decides which kernel is tried first. Only a race decides which kernel is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from backends.cpu.choice.choice import Choice, Outcome, Record, choose
from backends.kernels.candidates import Candidate, starter


@dataclass(frozen=True, slots=True)
class Prove:
    """Compile a candidate and compare its answers with the known ones."""

    name: str


@dataclass(frozen=True, slots=True)
class Race:
    """Measure proven kernels against each other."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """Hash with these kernels from now on."""

    choice: Choice


@dataclass(slots=True)
class Plan:
    """proven: kernels that are ready to load. most: how many to prove at most; None: all that can run."""

    candidates: Sequence[Candidate]
    record: Record
    proven: set[str]
    most: int | None = None
    in_use: Choice | None = None
    refused: dict[str, str] = field(default_factory=dict)  # in this run
    _resting: bool = False

    def next(self) -> Prove | Race | Use | None:
        """The next step; None when no better kernel is left to try, or none at all."""
        usable = [x for x in self.candidates if x.unusable is None and x.name not in self._out()]
        choice = choose(usable, self.record)
        if choice and choice != self.in_use and self.proven.issuperset(choice.names):
            return Use(choice)
        if not usable:
            return None
        if not self.in_use:
            first = starter(usable, self.proven)
            if first.name not in self.proven:
                return Prove(first.name)
            return Use(Choice(first.name, first.name, first.midstates))
        return None if self._resting else self._improve([x.name for x in usable], choice.names if choice else ())

    def proved(self, name: str) -> None:
        self.proven.add(name)

    def refuse(self, name: str, why: str, *, for_good: bool) -> None:
        self.proven.discard(name)
        self.refused[name] = why
        if for_good:
            self.record = {**self.record, name: Outcome(refused=why)}

    def raced(self, outcomes: Record) -> None:
        """Take the best rate of a kernel in any race: other load on the machine can only lower a rate."""
        for name, outcome in outcomes.items():
            known = self.record.get(name, Outcome()).rates_hps
            best = {count: max(hps, known.get(count, 0.0)) for count, hps in outcome.rates_hps.items()}
            self.record = {**self.record, name: Outcome(rates_hps=best)}

    def uses(self, choice: Choice) -> None:
        self.in_use = choice

    def spoiled(self, race: Race, why: str, *, for_good: bool) -> None:
        """The race could not be run: refuse the newcomer. Without a newcomer do not race again."""
        newcomers = [name for name in race.names if not self.in_use or name not in self.in_use.names]
        for name in newcomers:
            self.refuse(name, why, for_good=for_good)
        self._resting = not newcomers

    def _improve(self, usable: list[str], chosen: Sequence[str]) -> Prove | Race | None:
        ready = [name for name in usable if name in self.proven]
        reigning = self.in_use.names if self.in_use else ()
        if unmeasured := sorted((name for name in ready if name not in self.record), key=reigning.__contains__):
            return Race(tuple(dict.fromkeys((*reigning, unmeasured[0]))))
        pending = [x for x in usable if x not in self.proven and (x not in self.record or x in chosen)]
        if self.most is not None:
            pending = pending[: max(self.most - len(ready), 0)]
        return Prove(pending[0]) if pending else None

    def _out(self) -> set[str]:
        return {*self.refused, *(name for name, outcome in self.record.items() if outcome.refused)}
