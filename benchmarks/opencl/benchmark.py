"""How fast each OpenCL device hashes, with which form of the search, and how near that is to what it can do.

Forms are built, examined and timed in processes of their own (`backends.opencl.worker.tune`). The best then mines for a
while as the miner does: two launches in flight, hits confirmed by hashlib, their number held against chance. With
--program the whole miner takes turns with that.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from rich.console import Console
from rich.markup import escape

import native
from backends.opencl.errors import OpenclError
from backends.opencl.runtime import Identity, find, identities
from backends.opencl.worker.program import open_folder
from backends.opencl.worker.proof import open_search
from backends.opencl.worker.search import LAUNCH_S, Search
from backends.opencl.worker.tune import Trial, Tuned, settle, untuned
from benchmarks import machine, report
from benchmarks.cpu import floor
from benchmarks.measure import Spread
from benchmarks.opencl import program as opencl_program
from benchmarks.opencl.launches import TARGET, Walk
from benchmarks.opencl.roofline import metal, most_hps, operations, slots_per_hash
from benchmarks.pace import Pace
from benchmarks.pipeline.program import ProgramError
from miner.power import rapl
from miner.power.errors import PowerError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--seconds", type=float, default=10.0, help="for each device's best form (%(default)s)")
    parser.add_argument(
        "--device", metavar="TEXT", help="type, platform or name has this in it; default: cards, else the processor"
    )
    parser.add_argument("--no-tune", action="store_true", help="measure the usual form only")
    parser.add_argument("--retune", action="store_true", help="measure again what --state-dir remembers")
    parser.add_argument("--state-dir", type=Path, metavar="DIR", help="keep programs and tuning here")
    parser.add_argument("--program", action="store_true", help="hold the whole miner against the bare search, too")
    parser.add_argument("--pairs", type=int, default=6, help="miner, bare search; --seconds each (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure every device that the options name; "wrong" is true if one miscounts or cannot be used."""
    try:
        found = identities()
    except OpenclError as error:
        found = []
        console.print(f"[red]nothing to measure:[/] {escape(str(error))}", highlight=False)
    chosen = choose(found, options.device)
    if not chosen:
        console.print("no such OpenCL device", highlight=False)
    report.warn(console, machine.load_before())
    results = []
    with _state(options.state_dir) as state:
        for identity in chosen:
            begun = machine.Clock.now()
            try:
                result = measure(identity, state, options, console)
                if options.program:
                    figures = opencl_program.measure(identity, found, state, options, console)
                    result["program"] = [figure.as_json() for figure in figures]
            except (OpenclError, ProgramError) as error:
                result = {"device": asdict(identity), "failed": str(error)}
                console.print(f"[red]{escape(identity.name)}:[/] {escape(str(error))}", highlight=False)
            report.warn(console, disturbances := machine.disturbances(begun))
            results.append(result | {"disturbances": disturbances})
    wrong = not results or any("failed" in x or not x["hits"]["right"] for x in results)
    return {"devices": results, "wrong": wrong}


def choose(found: list[Identity], text: str | None) -> list[Identity]:
    """The devices with this text in what they are called; without one the cards, or what there is instead."""
    if text is None:
        return [x for x in found if x.type == "gpu"] or found
    return [
        x for x in found if any(text.lower() in y.lower() for y in (x.type, x.platform, x.platform_version, x.name))
    ]


def measure(identity: Identity, state: Path, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Tune a device, or recall how it was, then let it mine."""
    console.rule(escape(f"{identity.name}, {identity.platform_version}"))
    folder, _ = open_folder(state, identity)
    tuned = untuned(identity)
    if not options.no_tune:
        tuned = settle(identity, folder, again=options.retune, tell=lambda text: _told(console, text))
        _show_trials(console, tuned)
    rows = []
    for form in tuned.forms:
        begun = time.perf_counter()
        search = open_search(identity, [form], folder)
        opened_s = time.perf_counter() - begun
        rows.append(mine(identity, search, options.seconds) | {"form": form.name, "open_s": opened_s})
        search.close()
    _show(console, rows)
    best = max(rows, key=lambda x: float(x["hashes_per_second"]))
    trials = [trial.model_dump() for trial in tuned.trials]
    return {"device": asdict(identity), "trials": trials, "forms": rows, "hits": best["hits"]}


def mine(identity: Identity, search: Search, seconds: float) -> dict[str, Any]:
    """Keep two launches in flight for so long; what came of it, ready for JSON."""
    versions = [1 << 29 | row << 13 for row in range(search.midstates)]
    header = time.time_ns().to_bytes(76, "little")
    job = search.prepare(header, versions, TARGET)
    walk = Walk(search, job)
    walk.go(LAUNCH_S * 20)  # finds its length
    sensors = _sensors(identity)
    walk.forget()
    before = sensors()
    begun = time.perf_counter()
    readings = walk.go(seconds, sensors)
    wall_s = time.perf_counter() - begun
    rate = walk.hashes / wall_s
    clocks = [x["clock_hz"] for x in readings if x.get("clock_hz")]
    clock_hz = statistics.median(clocks) if clocks else None
    most = _most(identity, search, clock_hz)
    joules = _joules(before, sensors(), readings, wall_s)
    took = [x.took_s for x in walk.outcomes if x.took_s]
    return {
        "midstates": search.midstates,
        "hashes_per_second": rate,
        "device_hashes_per_second": Spread.of([x.hashes / x.took_s for x in walk.outcomes if x.took_s]).as_json(),
        "launch_s": statistics.median(took),
        "busy": sum(took) / wall_s,
        "python_share": walk.processor_s / len(walk.outcomes) / statistics.median(took),
        "clock_hz": clock_hz,
        "slots_per_hash": slots_per_hash("nvidia", search.midstates),
        "operations_per_hash": operations(search.midstates).total / search.midstates,
        "roofline_hps": most,
        "share_of_roofline": most and rate / most,
        "joules_per_hash": joules and joules / walk.hashes,
        "hits": walk.hits(),
    }


def _most(identity: Identity, search: Search, clock_hz: float | None) -> float | None:
    """The roofline: of a card by slots and lanes, of a processor by the floor of native/'s expanded rounds."""
    if identity.type == "cpu":
        core, ternary = floor.core_named(llvm.get_host_cpu_name()), "avx512f" in native.host_features().present
        clock_hz = clock_hz or Pace().sample()
        lanes = 16 if ternary else 8
        least = core and floor.cycles(core, native_layout(), search.midstates, lanes, ternary=ternary)
        return identity.units * clock_hz / least if least else None
    capability = None
    with suppress(OpenclError, AttributeError):
        device = find(identity)
        capability = (device.compute_capability_major_nv, device.compute_capability_minor_nv)
    card = metal(identity.vendor, identity.name, identity.units, capability)
    return most_hps(card, clock_hz, search.midstates) if card and clock_hz else None


def native_layout() -> native.Layout:
    """What the rounds cost that are written out in operations on words."""
    from native.symbolic import layout  # noqa: PLC0415 # reads better at its only use

    return layout()


def _sensors(identity: Identity) -> Callable[[], dict[str, float]]:
    """What can be read of a device while it works: clock_hz and power_w, or joules so far."""
    if identity.type == "cpu":
        pace, zones = Pace(), rapl.zones()

        def processor() -> dict[str, float]:
            read = {"clock_hz": pace.sample()}
            with suppress(PowerError):
                if zones:
                    read["joules"] = sum(rapl.read(zone) for zone in zones)
            return read

        return processor
    import pynvml  # noqa: PLC0415 # for cards only

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByPciBusId((identity.pci or "").encode())
    except pynvml.NVMLError:
        return dict

    def card() -> dict[str, float]:
        read = {}
        with suppress(pynvml.NVMLError):
            read["clock_hz"] = pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM) * 1e6
            read["power_w"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        return read

    return card


def _joules(
    before: dict[str, float], after: dict[str, float], readings: list[dict[str, float]], wall_s: float
) -> float | None:
    if "joules" in before and after.get("joules", 0) > before["joules"]:
        return after["joules"] - before["joules"]
    powers = [x["power_w"] for x in readings if "power_w" in x]
    return statistics.mean(powers) * wall_s if powers else None


@contextmanager
def _state(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _told(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False)


def _show_trials(console: Console, tuned: Tuned) -> None:
    def row(trial: Trial) -> list[str]:
        form = trial.form
        rate = (
            report.millions(trial.rate_hps) if trial.rate_hps else escape((trial.refused or "-").splitlines()[0][:60])
        )
        return [
            form.rotate,
            form.select,
            *(str(x) for x in (form.width, form.midstates, form.group, form.batches)),
            rate,
        ]

    columns = ["rotate", "select", "width", "mid", "group", "batches", "MH/s"]
    report.table(console, "forms tried, in this order: best launch of each", columns, map(row, tuned.trials))


def _show(console: Console, rows: list[dict[str, Any]]) -> None:
    columns = ["form", "MH/s", "roofline", "of it", "launch ms", "busy", "python", "open s", "nJ/hash"]
    figures = [
        [
            x["form"],
            report.millions(x["hashes_per_second"]),
            report.millions(x["roofline_hps"]) if x["roofline_hps"] else "-",
            f"{x['share_of_roofline']:.0%}" if x["share_of_roofline"] else "-",
            f"{1e3 * x['launch_s']:.1f}",
            f"{x['busy']:.1%}",
            f"{x['python_share']:.2%}",
            f"{x['open_s']:.2f}",
            f"{1e9 * x['joules_per_hash']:.1f}" if x["joules_per_hash"] else "-",
        ]
        for x in rows
    ]
    report.table(console, "the best forms at work", columns, figures)
    for x in rows:
        console.print(
            f"{x['midstates']} midstate(s): {x['slots_per_hash']:.0f} slots a hash on NVIDIA,"
            f" {x['operations_per_hash']:.0f} operations; {x['hits']['found']} hits,"
            f" {x['hits']['expected']:.0f} expected, {x['hits']['wrong']} wrong",
            highlight=False,
        )
