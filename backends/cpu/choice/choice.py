"""Chooses kernels from their rates on this processor, and says why the others were not chosen.

    <cache folder>/measured.json    {PROCESSOR: {KERNEL: {"rates_hps": {"1": 9.1e6, "16": 1.1e7}} or {"refused": WHY}}}
                                    as the content of a file that `backends.kept` reads

The folder's name is a digest of code, compiler and CPU features: a new version of any of them measures anew. The
processor's own name is in the file, because folders are copied from machine to machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from backends.kept import Kept, Spoiled
from backends.kernels.candidates import Candidate
from backends.rates import first_of_the_best

_NOISE = 0.02  # rates that differ by less are equal: the earlier candidate, or fewer versions, is chosen
_FILE = "measured.json"


class Outcome(BaseModel):
    """The result of a candidate: refused for good, or its best rate for each number of versions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refused: str | None = None
    rates_hps: dict[Annotated[int, Field(ge=1, le=1 << 16)], Annotated[float, Field(gt=0)]] = {}


Record = Mapping[str, Outcome]  # by the kernel's name
_RECORDS = TypeAdapter(Mapping[str, Record])


@dataclass(frozen=True, slots=True)
class Choice:
    """The kernel for one version, the kernel for several, and the most versions at once (1: several gain nothing)."""

    single: str
    several: str
    midstates: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.single, self.several)))


def choose(candidates: Sequence[Candidate], record: Record) -> Choice | None:
    """The fastest usable candidates; None if none was measured."""
    rates = {
        x.name: record[x.name].rates_hps
        for x in candidates
        if x.unusable is None and x.name in record and not record[x.name].refused and 1 in record[x.name].rates_hps
    }
    if not rates:
        return None
    single = first_of_the_best({name: by_count[1] for name, by_count in rates.items()}, _NOISE)
    several = first_of_the_best({name: max(by_count.values()) for name, by_count in rates.items()}, _NOISE)
    midstates = first_of_the_best(dict(sorted(rates[several].items())), _NOISE)
    return Choice(single, several if midstates > 1 else single, midstates)


def reasons(candidates: Sequence[Candidate], record: Record) -> dict[str, str]:
    """Why each other candidate is not chosen, by its name."""
    choice = choose(candidates, record)
    best = record[choice.single].rates_hps[1] if choice else 0.0
    told = {}
    for candidate in candidates:
        outcome = record.get(candidate.name, Outcome())
        if candidate.unusable:
            told[candidate.name] = candidate.unusable
        elif outcome.refused:
            told[candidate.name] = outcome.refused
        elif 1 not in outcome.rates_hps:
            told[candidate.name] = "not tried here yet"
        elif choice and candidate.name not in choice.names:
            told[candidate.name] = f"measured slower: {outcome.rates_hps[1] / best:.2f} times {choice.single}"
    return told


def read(folder: Path | None, processor: str, tell: Callable[[str], None] = lambda _: None) -> Record:
    """The record of this processor; empty without a file. If the file cannot be used, `tell` gets the reason."""
    if folder is None:
        return {}
    try:
        return (_kept(folder).read() or {}).get(processor, {})
    except OSError as error:
        tell(str(error))
        return {}


def write(folder: Path | None, processor: str, record: Record) -> None:
    """Keep the record of this processor. Raises OSError."""
    if folder is None:
        return
    kept = _kept(folder)
    try:
        others = kept.read() or {}
    except Spoiled:
        others = {}
    kept.write({**others, processor: record})


def _kept(folder: Path) -> Kept[Mapping[str, Record]]:
    return Kept(folder / _FILE, _RECORDS)
