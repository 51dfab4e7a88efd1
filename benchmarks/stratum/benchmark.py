"""What a Stratum pool costs: from its notify to the first hash, large jobs, many shares, a day without growth.

Each figure stands beside what was set for it. Tips are measured through sockets on a miner all of whose threads hash;
the rest in one thread, without sockets, by the processor's own time, so that a busy machine spoils it little.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from backends.cpu import cores
from backends.cpu.priority import Priority
from benchmarks import machine, report
from benchmarks.pipeline import bare
from benchmarks.pipeline.benchmark import Figure
from benchmarks.stratum import tips as stratum_tips
from benchmarks.stratum.pool import EVERY_HASH, Desk, difficulty, notify

SWITCHES = 500
TIP_MEDIAN_MS, TIP_P99_MS = 1.0, 4.0
LARGE_BYTES, LARGE_MS = 100_000, 2.0
SHARES_PER_SECOND = 2000.0
BATCH = 500  # shares
HOURS = 24.0
JOB_S, CLEAN_EVERY, SHARE_S, LINE_S = 4.0, 150, 2.0, 3600.0  # of the simulated day
SETTLED = 0.4  # of the run, after which memory must not grow: all tables are full
ENOUGH_HOURS = 12.0  # for that
GROWTH_LIMIT = 2000  # of Python's allocated blocks: one kept for every share would be 20 times as many
_OUTPUT_DIGITS = 2 * 31  # of one output of a coinbase as it stands in a notify


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--switches", type=int, default=SWITCHES, help="new tips (%(default)s)")
    parser.add_argument("--threads", type=int, help="hash threads (one per core)")
    parser.add_argument("--batches", type=int, default=20, help=f"of {BATCH} shares; of large jobs, too (%(default)s)")
    parser.add_argument("--hours", type=float, default=HOURS, help="to simulate (%(default)s)")
    parser.add_argument("--state", type=Path, metavar="DIR", help=bare.STATE_HELP)
    parser.add_argument("--parts", type=_parts, default=tuple(_PARTS), metavar="NAME,NAME", help=", ".join(_PARTS))


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure; "wrong" is true where memory grows or shares go missing, whatever the machine's other load."""
    options.threads = options.threads or cores.thread_count(len(cores.affinity()), cores.quota())
    report.warn(console, machine.load_before())
    figures: list[Figure] = []
    begun = machine.Clock.now()
    with report.progress(console) as progress:
        for part in options.parts:
            figures += _PARTS[part](options, progress)
        disturbances = machine.disturbances(begun)
    report.warn(console, disturbances)
    columns = ["figure", "median", "min", "max", "p99", "target", "met"]
    report.table(console, f"Stratum, {options.threads} threads", columns, (x.row() for x in figures))
    grown = any(figure.met is False for figure in figures if figure.unit == "blocks")
    return {
        "threads": options.threads,
        "figures": [x.as_json() for x in figures],
        "disturbances": disturbances,
        "wrong": grown,
    }


def _tips(options: argparse.Namespace, progress: Progress) -> list[Figure]:
    task = progress.add_task("new tips", total=2)
    with tempfile.TemporaryDirectory() as folder:
        state = options.state or Path(folder)
        bare.measure(state, 0.1, options.threads)  # fills the cache of kernels
        progress.advance(task)
        times = stratum_tips.measure(state, options.threads, Priority.LOW, options.switches)
        progress.advance(task)
    scanned = [x * 1e3 for x in times["wire_to_scan_s"]]
    return [
        Figure("notify, 13 branches, wire to work", "ms", [x * 1e3 for x in times["wire_to_work_s"]]),
        Figure("notify, 13 branches, wire to first hash", "ms", scanned, TIP_MEDIAN_MS),
        Figure("the same, 99 of 100", "ms", scanned, TIP_P99_MS, "p99"),
    ]


def _large(options: argparse.Namespace, progress: Progress) -> list[Figure]:
    """From its bytes to a job that devices lease from."""
    desk = Desk()
    desk.connect()
    count = 10 * options.batches
    task = progress.add_task("large jobs", total=count)
    times = []
    data = b""
    for number in range(count):
        data = notify(number, outputs=(LARGE_BYTES - len(notify(number))) // _OUTPUT_DIGITS + 2)
        begun = time.thread_time()
        desk.hear(data)
        times.append((time.thread_time() - begun) * 1e3)
        assert desk.manager.served is not None and desk.manager.served.key == f"{number:x}"
        progress.advance(task)
    return [Figure(f"a notify of {len(data) / 1000:.0f} kB", "ms", times, LARGE_MS)]


def _shares(options: argparse.Namespace, progress: Progress) -> list[Figure]:
    """From a device's hit to the line, and from the pool's answer to the books; a new job for each batch."""
    desk = Desk(capped=False)
    desk.connect()
    desk.hear(difficulty(EVERY_HASH))
    task = progress.add_task("shares", total=options.batches)
    rates = []
    for number in range(options.batches):
        desk.tick(1.0)
        desk.hear(notify(number))
        work = desk.feed.take(0.0)
        assert work is not None
        hits = desk.hits(work, BATCH)
        spent = -time.thread_time()
        for hit in hits:
            desk.find(hit)
        spent += time.thread_time()
        desk.answer()  # makes up the answers too: timed below on its own
        rates.append(BATCH / spent)
        progress.advance(task)
    if desk.accepted != options.batches * BATCH:
        raise RuntimeError(f"{desk.accepted} of {options.batches * BATCH} shares arrived")
    used = [100 * SHARES_PER_SECOND / rate for rate in rates]
    return [
        Figure("shares verified and made ready, one core", "1/s", rates, SHARES_PER_SECOND, at_least=True),
        Figure(f"of one core at {SHARES_PER_SECOND:.0f} shares a second", "%", used),
    ]


def _day(options: argparse.Namespace, progress: Progress) -> list[Figure]:
    """Jobs, shares, answers, lost lines that are resumed; the clock is set by hand."""
    desk = Desk()
    desk.connect()
    desk.hear(difficulty(EVERY_HASH))
    task = progress.add_task("simulated hours", total=options.hours)
    blocks: list[float] = []
    jobs = int(options.hours * 3600 / JOB_S)
    for number in range(jobs):
        desk.hear(notify(number, tip=number // CLEAN_EVERY, clean=number % CLEAN_EVERY == 0))
        work = desk.feed.take(0.0)
        assert work is not None
        for hit in desk.hits(work, int(JOB_S / SHARE_S)):
            desk.find(hit)
            desk.answer()
            desk.tick(SHARE_S)
        desk.feed.worked(work, int(JOB_S / SHARE_S))
        if number % int(LINE_S / JOB_S) == 0:
            desk.disconnect()
            desk.tick(1.0)
            desk.connect()
            desk.hear(difficulty(EVERY_HASH))
        if number % max(jobs // 50, 1) == 0:
            gc.collect()
            blocks.append(float(sys.getallocatedblocks()))
            progress.advance(task, options.hours / 50)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return [
        Figure(
            f"growth over {options.hours:g} h, once settled",
            "blocks",
            [growth(blocks)],
            GROWTH_LIMIT if options.hours >= ENOUGH_HOURS else None,
        ),
        Figure("shares in that time", "1", [float(desk.accepted)]),
        Figure("resident afterwards", "MB", [resident]),
    ]


def growth(sizes: Sequence[float]) -> float:
    """By how much the most of the last part exceeds the most of the part before, both after all has settled."""
    settled = sizes[int(SETTLED * len(sizes)) :]
    half = len(settled) // 2
    return max(settled[half:]) - max(settled[: half + 1])


_Part = Callable[[argparse.Namespace, Progress], list[Figure]]
_PARTS: dict[str, _Part] = {"tips": _tips, "large": _large, "shares": _shares, "day": _day}


def _parts(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= _PARTS.keys():
        raise ValueError(text)
    return names
