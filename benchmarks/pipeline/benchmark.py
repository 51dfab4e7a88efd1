"""What the whole program makes of the bare kernel, how soon it mines and how quickly it follows: each with its target.

Program and bare kernel take turns in short pairs, so that a neighbour's spell of work falls on both.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import Progress

from backends.cpu import cores
from backends.cpu.priority import Priority
from benchmarks import machine, report
from benchmarks.measure import Spread, percentile
from benchmarks.pipeline import bare, costs, program, tips

SECONDS = 5.0
PAIRS = 10
SWITCHES = 500
STARTS = 5
_BATCHES = 40

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Figure:
    """One answer. `judged`: which of the numbers is held against the target."""

    name: str
    unit: str
    samples: Sequence[float]
    target: float | None = None  # None: nobody set one
    judged: str = "median"
    at_least: bool = False

    @property
    def values(self) -> dict[str, float]:
        return {**Spread.of(self.samples).as_json(), "p99": percentile(self.samples, 0.99)}

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        value = self.values[self.judged]
        return value >= self.target if self.at_least else value <= self.target

    def as_json(self) -> dict[str, Any]:
        told = {"name": self.name, "unit": self.unit, **self.values}
        return {**told, "target": self.target, "judged": self.judged, "met": self.met}

    def row(self) -> list[str]:
        spread = [_short(self.values[key]) for key in ("median", "min", "max", "p99")]
        relation = "≥" if self.at_least else "≤"
        held = "" if self.judged == "median" else f"{self.judged} "
        wanted = "" if self.target is None else f"{held}{relation} {self.target:g}"
        name = self.name if self.unit == "ratio" else f"{self.name}, {self.unit}"
        return [name, *spread, wanted, {None: "", True: "yes", False: "[red]no[/]"}[self.met]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each run (%(default)s)")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="program, bare kernel (%(default)s)")
    parser.add_argument("--threads", type=int, help="hash threads (one per core)")
    parser.add_argument("--starts", type=int, default=STARTS, help="with a cache, and without (%(default)s)")
    parser.add_argument("--switches", type=int, default=SWITCHES, help="new tips for each priority (%(default)s)")
    parser.add_argument("--live", action="store_true", help="pairs with the live screen, on a terminal")
    parser.add_argument("--state", type=Path, metavar="DIR", help=bare.STATE_HELP)
    parser.add_argument("--parts", type=_parts, default=tuple(_PARTS), metavar="NAME,NAME", help=", ".join(_PARTS))


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure the parts that the options name."""
    options.threads = options.threads or cores.thread_count(len(cores.affinity()), cores.quota())
    report.warn(console, machine.load_before())
    figures: list[Figure] = []
    with report.progress(console) as progress, tempfile.TemporaryDirectory() as folder:
        state = options.state or Path(folder)
        warm_up = progress.add_task("filling the cache", total=1)
        bare.measure(state, 0.1, options.threads)
        progress.advance(warm_up)
        begun = machine.Clock.now()
        for part in options.parts:
            figures += _PARTS[part](options, state, progress)
        disturbances = machine.disturbances(begun)
    report.warn(console, disturbances)
    columns = ["figure", "median", "min", "max", "p99", "target", "met"]
    report.table(console, f"the whole program, {options.threads} threads", columns, (x.row() for x in figures))
    return {"threads": options.threads, "figures": [x.as_json() for x in figures], "disturbances": disturbances}


def _efficiency(options: argparse.Namespace, state: Path, progress: Progress) -> list[Figure]:
    """Pairs in the order program, bare, bare, program: a trend falls on both."""
    live, threads = options.live, options.threads
    name = "live screen" if live else "no terminal"
    task = progress.add_task(f"program against kernel, {name}", total=options.pairs)
    by_clock, by_own_time, waited = [], [], []
    for number in range(options.pairs):
        whole, kernel = pair(
            lambda: program.mine(state, options.seconds, threads, live=live),
            lambda: bare.measure(state, options.seconds, threads),
            second_first=number % 2 == 1,
        )
        by_clock.append(whole.by_clock_hps / kernel.by_clock_hps)
        by_own_time.append(whole.by_own_time_hps / kernel.by_own_time_hps)
        waited.append(whole.waited)
        progress.advance(task)
    return [
        Figure(f"whole/bare, {name}, by the clock", "ratio", by_clock, 0.99, at_least=True),
        Figure(f"whole/bare, {name}, by its own time", "ratio", by_own_time, 0.99, at_least=True),
        Figure(f"hash threads waiting, {name}", "ratio", waited),
    ]


def pair(first: Callable[[], A], second: Callable[[], B], *, second_first: bool) -> tuple[A, B]:
    """What both return, called in this order or the other."""
    if second_first:
        late = second()
        return first(), late
    return first(), second()


def _start(options: argparse.Namespace, state: Path, progress: Progress) -> list[Figure]:
    """Without arguments, as a new user starts it."""
    task = progress.add_task("starting", total=2 * options.starts)
    cached: list[program.Started] = []
    compiled: list[program.Started] = []
    for _ in range(options.starts):
        with tempfile.TemporaryDirectory() as empty:
            for folder, outcomes in ((state, cached), (Path(empty), compiled)):
                outcomes.append(program.start(folder, options.seconds, options.threads))
                progress.advance(task)
    return [
        Figure("first hash, kernel cached", "s", [x.first_hash_s for x in cached], 2.0),
        Figure("first hash, empty cache", "s", [x.first_hash_s for x in compiled], 5.0),
        Figure("resident, kernel cached", "MB", [x.peak_bytes / 1e6 for x in cached], 250.0, "max"),
        Figure("resident, after compiling", "MB", [x.peak_bytes / 1e6 for x in compiled], 250.0, "max"),
    ]


def _tips(options: argparse.Namespace, state: Path, progress: Progress) -> list[Figure]:
    """The target is for the backend's default priority, and for all the way from the wire."""
    task = progress.add_task("new tips", total=len(Priority))
    figures = []
    for priority in (Priority.LOW, Priority.IDLE, Priority.NORMAL):
        times = tips.measure(state, options.threads, priority, options.switches)
        progress.advance(task)
        for name, target in (("wire_to_work_s", 4.0), ("handled_to_work_s", 4.0), ("handled_to_scan_s", None)):
            words = name.removesuffix("_s").replace("_", " ")
            held = target if priority is Priority.LOW else None
            figures.append(Figure(f"tip, {words}, {priority}", "ms", [x * 1e3 for x in times[name]], held, "p99"))
    return figures


def _costs(_options: argparse.Namespace, _state: Path, progress: Progress) -> list[Figure]:
    task = progress.add_task("leases and verdicts", total=2)
    leases = [x * 1e6 for x in costs.lease_s(_BATCHES)]
    progress.advance(task)
    verdicts = [x * 1e6 for x in costs.verdict_s(_BATCHES)]
    progress.advance(task)
    # 5 % of a core for 1,000 a second
    return [Figure("a lease, 12 branches", "us", leases, 50.0), Figure("a verdict on a good hit", "us", verdicts)]


def _short(value: float) -> str:
    """Four digits where they say something: of ratios near 1."""
    return f"{value:.4f}" if value < 2 else f"{value:.3g}"


_Part = Callable[[argparse.Namespace, Path, Progress], list[Figure]]
_PARTS: dict[str, _Part] = {"efficiency": _efficiency, "start": _start, "tips": _tips, "costs": _costs}


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= _PARTS.keys():
        raise ValueError(text)
    return names
