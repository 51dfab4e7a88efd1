"""How fast each search hashes on this processor, how near that is to what it can do, and how soon after the start.

Kernels take turns of a few dozen milliseconds, so that a neighbour's spell of work falls on all of them, and measure
the clock in between. What they report is checked: each hit by hashlib, their number against chance.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

import native
from backends import kernels
from benchmarks import machine, report
from benchmarks.cpu import floor, peer, weaker
from benchmarks.cpu.searches import Trial
from benchmarks.measure import Spread, percentile

TURN_S = 0.05
PEER_TURNS = 3

_START = """
import sys, time
begun = time.perf_counter()
import native, resource
from backends import kernels
from pathlib import Path
cache = kernels.open_cache(Path(sys.argv[1]), native.host_features())
candidate = next(x for x in kernels.candidates() if x.name == sys.argv[2])
kernels.load(candidate, cache)
print(time.perf_counter() - begun, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="for each kernel, number of threads and of midstates (%(default)s)"
    )
    parser.add_argument("--threads", type=_numbers, metavar="N,N", help="numbers of threads (1 and all cores)")
    parser.add_argument(
        "--midstates", type=_numbers, metavar="N,N", help="versions hashed together (1 and what the kernel likes)"
    )
    parser.add_argument("--kernels", type=_names, metavar="NAME,NAME", help="these kernels only")
    parser.add_argument("--weaker", action="store_true", help="weaker processors too, as far as this one can play them")
    parser.add_argument("--against", metavar="COMMAND", help="run this benchmark in turns with ours and compare")
    parser.add_argument(
        "--against-seconds", type=float, default=10.0, metavar="S", help="how long its turns may last (%(default)s)"
    )


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure the kernels that the options name, or all that run here; "wrong" is true if one miscounts."""
    candidates = kernels.candidates()
    for candidate in candidates:
        if candidate.unusable:
            console.print(f"{candidate.name}: not here, {candidate.unusable}")
    usable = {x.name: x for x in candidates if x.unusable is None}
    if missing := set(options.kernels or ()) - set(usable):
        console.print(f"not a kernel that runs here: {', '.join(sorted(missing))}; there are {', '.join(usable)}")
        return {"kernels": [], "wrong": True}
    chosen = [usable[name] for name in options.kernels or usable]
    report.warn(console, machine.load_before())
    try:
        result = _measure(chosen, options, console)
    except peer.PeerError as error:
        console.print(f"[red]nothing to compare with:[/] {escape(str(error))}", highlight=False)
        return {"kernels": [], "wrong": True}
    _show(console, result)
    return result


def _measure(chosen: list[kernels.Candidate], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    with report.progress(console) as progress, tempfile.TemporaryDirectory() as state:
        against = [peer.run(options.against, options.against_seconds)] if options.against else []  # errors come early
        starts = _time_starts(chosen, Path(state), progress)
        features = native.host_features()
        loaded = [kernels.load(x, kernels.open_cache(Path(state, x.name), features)) for x in chosen]
        trials = [
            Trial(kernel, threads, midstates)
            for kernel in loaded
            for threads in options.threads or sorted({1, len(os.sched_getaffinity(0))})
            for midstates in options.midstates or sorted({1, kernel.midstates})
        ]
        begun = machine.Clock.now()
        turns = max(round(options.seconds / TURN_S), 1)
        task = progress.add_task("hashing", total=turns)
        for turn in range(turns):
            if options.against and turn * PEER_TURNS // turns >= len(against):
                against.append(peer.run(options.against, options.against_seconds))
            for trial in trials:
                trial.go(options.seconds / turns)
            progress.advance(task)
        disturbances = machine.disturbances(begun)
        rivals = list(weaker.processors(native.host_features())) if options.weaker else []
        task = progress.add_task("weaker", total=len(rivals))
        weak = []
        for rival in rivals:
            weak += weaker.measure(rival, options.seconds)
            progress.advance(task)
    report.warn(console, disturbances)
    results = [x | starts[x["name"]] for x in _results(trials)]
    result: dict[str, Any] = {
        "cpu": llvm.get_host_cpu_name(),
        "kernels": results + weak,
        "ratios": ratios(results),
        "disturbances": disturbances,
        "wrong": not all(x["hits"]["right"] for x in results + weak),
    }
    if options.against:
        rate = Spread.of(against)
        for x in results:
            x["times_peer"] = x["hashes_per_second"]["median"] / rate.median
        result["against"] = {"command": options.against, "hashes_per_second": rate.as_json()}
    return result


def _results(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    clocks: defaultdict[int, list[float]] = defaultdict(list)
    for trial in trials:
        clocks[trial.threads] += trial.clock
    return [describe(trial, percentile(clocks[trial.threads], 0.95)) for trial in trials]


def describe(trial: Trial, clock_hz: float) -> dict[str, Any]:
    """What a trial found out, for JSON. Cycles come from 95th percentiles, of the clock and of the rates."""
    kernel, rate = trial.kernel, Spread.of(trial.rates)
    features, core = native.host_features(), floor.core_named(llvm.get_host_cpu_name())
    cycles = clock_hz * trial.threads / rate.p95
    ternary = "avx512f" in features.present
    least = core and floor.cycles(core, kernel.layout, trial.midstates, kernel.lanes, ternary=ternary)
    return {
        "name": kernel.name,
        "features": "all",
        "lanes": kernel.lanes,
        "threads": trial.threads,
        "midstates": trial.midstates,
        "slots": kernel.slots,
        "hashes_per_second": rate.as_json(),
        "clock_hz": clock_hz,  # of one thread
        "cycles_per_hash": cycles,
        "floor_cycles_per_hash": least,
        "share_of_floor": least and least / cycles,
        "operations": floor.operations(kernel.layout, trial.midstates, ternary=ternary),
        "operations_per_hash": floor.per_hash(kernel.layout, trial.midstates),
        "operations_shared": asdict(kernel.layout.shared),
        "operations_own": asdict(kernel.layout.own),
        "hits": trial.hits(),
    }


def ratios(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many times the rate of one thread several make, kernel by kernel, by the median and at best."""
    one = {(x["name"], x["midstates"]): x["hashes_per_second"] for x in results if x["threads"] == 1}
    return [
        {
            "name": x["name"],
            "midstates": x["midstates"],
            "threads": x["threads"],
            **{key: x["hashes_per_second"][key] / single[key] for key in ("median", "p95")},
        }
        for x in results
        if x["threads"] > 1 and (single := one.get((x["name"], x["midstates"])))
    ]


def _time_starts(chosen: list[kernels.Candidate], state: Path, progress: Progress) -> dict[str, dict[str, float]]:
    """From importing native to a proven kernel, in a process of its own: compiled, then from the cache.

    Leaves the kernels in `state`, each in a cache of its own, so that none profits from another.
    """
    task = progress.add_task("starting", total=2 * len(chosen))
    starts: dict[str, dict[str, float]] = {x.name: {} for x in chosen}
    for candidate in chosen:
        figures = starts[candidate.name]
        for key in ("compile_s", "cached_s"):
            command = [sys.executable, "-c", _START, str(state / candidate.name), candidate.name]
            answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
            figures[key], resident = map(float, answer.stdout.split())
            figures["resident_bytes"] = max(resident, figures.get("resident_bytes", 0.0))
            progress.advance(task)
    return starts


def _show(console: Console, result: dict[str, Any]) -> None:
    results = result["kernels"]
    weak = any(x["features"] != "all" for x in results)
    name = ["kernel", "on"] if weak else ["kernel"]
    peers = ["x peer"] if "against" in result else []
    columns = [*name, "thr", "mid", "median", "min", "max", "p95", "cycles", "floor", "of it", *peers]
    rows = [_name(x, weak=weak) + _speed(x) for x in results]
    report.table(console, "threads, midstates: millions of hashes per second, cycles per hash", columns, rows)
    clocks = {x["threads"]: x["clock_hz"] for x in results if x["features"] == "all"}
    spoken = ", ".join(f"{hz / 1e9:.2f} GHz with {threads} thread(s)" for threads, hz in clocks.items())
    console.print(f"Cycles: of a clock of {spoken}, measured in the same turns, over the 95th percentile of chunks.")
    core = floor.core_named(result["cpu"])
    console.print(f"Floor: {core.assumption if core else 'unknown for ' + result['cpu']}.", highlight=False)
    columns = [*name, "thr", "mid", "operations", "rounds/2", "hits", "expected"]
    rows = [_name(x, weak=weak) + _proof(x) for x in results]
    report.table(console, "operations per hash, hits found and expected", columns, rows)
    starts = {(x["name"], x["features"]): _name(x, weak=weak) + _start(x) for x in results}
    report.table(console, "from nothing to hashing", [*name, "cold s", "cached s", "MB"], starts.values())
    if ratios := result["ratios"]:
        rows = [
            [x["name"], str(x["midstates"]), str(x["threads"]), f"{x['median']:.2f}", f"{x['p95']:.2f}"] for x in ratios
        ]
        report.table(console, "times the rate of one thread", ["kernel", "mid", "thr", "median", "p95"], rows)
    if against := result.get("against"):
        rate = against["hashes_per_second"]
        best = max(results, key=lambda x: float(x.get("times_peer", 0)))
        console.print(
            f"{escape(against['command'])}: {report.millions(rate['median'])} MH/s"
            f" ({report.millions(rate['min'])} to {report.millions(rate['max'])});"
            f" {best['name']} with {best['threads']} thread(s), {best['midstates']} midstate(s) does"
            f" {best['times_peer']:.2f} times as much",
            highlight=False,
        )
    for x in results:
        if not x["hits"]["right"]:
            hits = x["hits"]
            console.print(
                f"[red]{x['name']} is wrong:[/] {hits['found']} hits, {hits['wrong']} of them false,"
                f" where {hits['expected']:.0f} were to be expected"
            )


def _name(result: dict[str, Any], *, weak: bool) -> list[str]:
    return [result["name"], result["features"]] if weak else [result["name"]]


def _speed(result: dict[str, Any]) -> list[str]:
    rate, least = result["hashes_per_second"], result["floor_cycles_per_hash"]
    return [
        str(result["threads"]),
        str(result["midstates"]),
        *(report.millions(rate[key]) for key in ("median", "min", "max", "p95")),
        f"{result['cycles_per_hash']:.1f}",
        "-" if least is None else f"{least:.1f}",
        "-" if least is None else f"{result['share_of_floor']:.0%}",
        *([f"{result['times_peer']:.2f}"] if "times_peer" in result else []),
    ]


def _proof(result: dict[str, Any]) -> list[str]:
    hits = result["hits"]
    return [
        str(result["threads"]),
        str(result["midstates"]),
        f"{result['operations']:.0f}",
        f"{result['operations_per_hash']['round_pairs']:.0f}",
        str(hits["found"]),
        f"{hits['expected']:.0f}",
    ]


def _start(result: dict[str, Any]) -> list[str]:
    return [f"{result['compile_s']:.2f}", f"{result['cached_s']:.2f}", f"{result['resident_bytes'] / 1e6:.0f}"]


def _numbers(text: str) -> list[int]:
    numbers = [int(x) for x in text.split(",")]
    if not numbers or min(numbers) < 1:
        raise ValueError(text)
    return numbers


def _names(text: str) -> list[str]:
    return text.split(",")
