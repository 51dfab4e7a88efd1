"""The merge templates that `miner tune` found for a processor, and the kernel that is made of them.

    <cache folder>/tuned.json    {PROCESSOR: {"one": TEMPLATE, "many": TEMPLATE}}

The kernel's name has a digest of both templates, so that what was compiled from others, or measured with them, is not
taken for it.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from native.schedule import LETTERS, Template

GROUPS = 16  # nonces of two hashes
WIDEST = 7  # of them side by side: two registers each of 1 to 14
_FILE = "tuned.json"
_LARGEST = 1 << 16  # bytes; a file beyond is not ours


def _fit(template: Template) -> Template:
    if sum(template.groups) != GROUPS or not all(1 <= group <= WIDEST for group in template.groups):
        raise ValueError(f"groups of 1 to {WIDEST} nonces, {GROUPS} in all, are needed, not {template.groups}")
    if not 1 <= len(template.beats) <= 64 or set("".join(template.beats)) - set(LETTERS):
        raise ValueError(f"1 to 64 beats of {LETTERS} are needed, not {template.beats}")
    if not (1 <= template.window <= 1000 and 0 <= template.pace <= 100 and 0 <= template.margin <= 100):
        raise ValueError(f"window, pace or margin out of range: {template}")
    return template


Sound = Annotated[Template, AfterValidator(_fit)]


class Tuned(BaseModel):
    """one: for a single version; many: for several together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    one: Sound
    many: Sound

    @property
    def digest(self) -> str:
        """Eight characters that differ for different templates."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]


_ALL = TypeAdapter(dict[Annotated[str, Field(max_length=1000)], Tuned])


def read(folder: Path | None, processor: str) -> Tuned | None:
    """What was found for this processor; None if nothing was, or the file is not in order."""
    return _read_all(folder).get(processor)


def write(folder: Path, processor: str, tuned: Tuned) -> None:
    """Remember it. Raises OSError where that cannot be."""
    text = _ALL.dump_json({**_read_all(folder), processor: tuned}, indent=1)
    draft = folder / f"{_FILE}.{os.getpid()}"
    draft.write_bytes(text)
    draft.replace(folder / _FILE)


def _read_all(folder: Path | None) -> dict[str, Tuned]:
    if folder is None:
        return {}
    try:
        with (folder / _FILE).open("rb") as file:
            return _ALL.validate_json(file.read(_LARGEST))
    except (OSError, ValidationError):
        return {}
