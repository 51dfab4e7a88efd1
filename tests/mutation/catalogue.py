"""The list of mutations: which line of the glue becomes which, and which tests must notice."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).parent / "mutations.toml"


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change to one place. `survives` says why no test can tell, where that is so."""

    name: str
    file: str  # from the root of the repository
    find: str  # stands there exactly once
    replace: str
    tests: tuple[str, ...]  # folders and files for pytest
    survives: str | None = None

    def applied(self, text: str) -> str:
        """The file's text with the mutation in it. Raises ValueError unless the place is there exactly once."""
        if (times := text.count(self.find)) != 1:
            raise ValueError(f"{self.name}: {self.file} has its place {times} times, not once")
        return text.replace(self.find, self.replace)


def mutations(source: Path = LIST) -> list[Mutation]:
    """Every mutation of the list, in order. Raises ValueError for two of one name."""
    entries = tomllib.loads(source.read_text())["mutation"]
    found = [Mutation(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
    names = [mutation.name for mutation in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"named twice: {', '.join(sorted(twice))}")
    return found
