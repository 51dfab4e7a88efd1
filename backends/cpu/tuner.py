"""`miner tune`: merge templates for the processor at hand, sought in a process of its own.

    python -m backends.cpu.tuner PARENT SECONDS TEMPLATES    a line of JSON for what was found, whenever there is news

Whatever a template does to the compiler or the processor ends that process only. What it had found until then is kept,
and another goes on from there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from pydantic import BaseModel, ConfigDict, Field, ValidationError

import native
from backends.child import end_with
from native.schedule import Template
from native.scheduled import MANY, ONE

from . import templates
from .cache import open_cache
from .cores import model
from .dispatch import SCHEDULED, candidates
from .forge import forged
from .search import Search
from .stopwatch import Stopwatch
from .templates import Tuned
from .tuning import Measure, Tuning
from .workshop import Workshop

SHIPPED = Tuned(one=ONE, many=MANY)
_TELL_EVERY_S = 1.0
_PATIENCE_S = 20.0  # beyond the time that was asked for
_CRASHES = 5


class Found(BaseModel):
    """The best templates until now, how many were tried, and the hashes a second that each of the two does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tuned: Tuned
    tried: int = Field(ge=0)
    one_hps: float = Field(ge=0)
    many_hps: float = Field(ge=0)


def tune_for_good(state: Path, seconds: float, told: Callable[[Found], None]) -> Found | None:
    """Search on from what was found before, and keep it for this processor; None: nothing better than what is shipped.

    Raises native.UnusableKernelError as `tune` does, and OSError where it cannot be kept.
    """
    cache, processor = open_cache(state, native.host_features()), model()
    if cache.folder is None:
        raise PermissionError(cache.unusable)
    found = tune(seconds, templates.read(cache.folder, processor) or SHIPPED, told)
    if all(mine in _everywhere(shipped) for mine, shipped in ((found.tuned.one, ONE), (found.tuned.many, MANY))):
        return None
    templates.write(cache.folder, processor, found.tuned)
    return found


def settled(state: Path) -> Search:
    """The search that the next start will use, everything that can run here measured. Raises native.KernelError."""
    cache = open_cache(state, native.host_features())
    return forged(Workshop(candidates(cache=cache), cache, model()))


def tune(
    seconds: float,
    start: Tuned = SHIPPED,
    told: Callable[[Found], None] = lambda _: None,
    command: Sequence[str] = (sys.executable, "-m", "backends.cpu.tuner"),
) -> Found:
    """Search for so long, or until KeyboardInterrupt; what was found. `told`: each time there is news.

    Raises native.UnusableKernelError where the processor cannot run the scheduled search, or none of the processes
    said anything.
    """
    if lacking := native.host_features().lacks(SCHEDULED):
        raise native.UnusableKernelError(f"this processor has no {', '.join(lacking)}: there is nothing to tune")
    found: Found | None = None
    tried, end = 0, time.monotonic() + seconds
    with suppress(KeyboardInterrupt):
        for _ in range(_CRASHES):
            before, left = tried, max(end - time.monotonic(), 0.0)
            for news in _sought(command, left, found.tuned if found else start):
                tried = before + news.tried
                found = news.model_copy(update={"tried": tried})
                told(found)
            if time.monotonic() >= end:
                break
    if found is None:
        raise native.UnusableKernelError("no template could be measured: each process that tried has ended")
    return found


def _sought(command: Sequence[str], seconds: float, start: Tuned) -> Iterator[Found]:
    """What one process says, until it ends or its time is up."""
    with subprocess.Popen(  # noqa: S603 # our own interpreter and module
        [*command, str(os.getpid()), str(seconds), start.model_dump_json()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a compiler's last words
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        watch = threading.Timer(seconds + _PATIENCE_S, process.kill)
        watch.start()
        try:
            for line in process.stdout or ():
                with suppress(ValidationError):  # the process ended in the middle of it
                    yield Found.model_validate_json(line)
        finally:
            watch.cancel()
            process.kill()


def seek(
    seconds: float, start: Tuned, random: Random, measures: Sequence[Measure], clock: Callable[[], float]
) -> Iterator[Found]:
    """Templates for one version and for several, by turns; now and then, and at the end, what was found."""
    begin = told = clock()
    both = [
        Tuning([*{*_everywhere(mine), *_everywhere(shipped)}], measure, random)
        for mine, shipped, measure in zip((start.one, start.many), (ONE, MANY), measures, strict=True)
    ]

    def found() -> Found:
        one, many = both
        return Found(
            tuned=Tuned(one=one.best, many=many.best),
            tried=one.tried + many.tried,
            one_hps=1 / one.best_s,
            many_hps=1 / many.best_s,
        )

    yield found()
    while (now := clock()) < begin + seconds:
        better = [tuning.step() for tuning in both]
        if any(better) or now >= told + _TELL_EVERY_S:
            told = now
            yield found()
    yield found()


def _everywhere(template: Template) -> list[Template]:
    """With the low registers and without."""
    return [replace(template, low=low) for low in (True, False)]


def main(parent: str, seconds: str, start: str) -> None:
    """Seek for so long and say what was found."""
    end_with(int(parent))
    stopwatch = Stopwatch(native.host_features())
    measures = [partial(stopwatch, several=several) for several in (False, True)]
    for found in seek(float(seconds), Tuned.model_validate_json(start), Random(), measures, time.monotonic):  # noqa: S311
        sys.stdout.write(found.model_dump_json() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
