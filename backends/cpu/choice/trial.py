"""One task of the workshop: `python -m backends.cpu.choice.trial PARENT FOLDER prove|race KERNEL...`.

Prints one line of JSON. PARENT is the id of the parent process: when that ends, this process ends too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

import native
from backends.child import end_with
from backends.cpu.choice.race import race
from backends.cpu.search import NativeSearch
from backends.kernels.cache import KernelCache
from backends.kernels.candidates import candidates, load
from backends.kernels.proof import ProofError

TASKS = Literal["prove", "race"]


class Answer(BaseModel):
    """refused: why the kernels cannot be used; None if they can. for_good: another try would give the same."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refused: str | None = None
    for_good: bool = False
    rates_hps: dict[str, dict[int, float]] = {}


def carry_out(folder: Path, task: TASKS, names: list[str]) -> Answer:
    """Compile and examine these kernels, or measure them against each other."""
    cache = KernelCache(folder)
    chosen = [x for x in candidates() if x.name in names]
    try:
        kernels = {x.name: NativeSearch(load(x, cache)) for x in chosen}
    except native.KernelError as error:
        return Answer(refused=str(error), for_good=isinstance(error, ProofError))
    if task == "prove":
        return Answer()
    return Answer(rates_hps={name: dict(rates) for name, rates in race(kernels).items()})


def main(parent: str, folder: str, task: str, *names: str) -> None:
    """Do the task and print its Answer."""
    end_with(int(parent))
    sys.stdout.write(carry_out(Path(folder), cast("TASKS", task), list(names)).model_dump_json())


if __name__ == "__main__":
    main(*sys.argv[1:])
