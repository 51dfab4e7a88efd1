"""What the whole miner makes of the bare search on an OpenCL device: by turns, in pairs, with the same programs.

The bare search is a process of its own, `python -m benchmarks.opencl.program STATE SECONDS IDENTITY`: form, kept
program, length of launches, versions together and priority are the miner's; there are no jobs, no hits, and nothing
else. Of runtimes on the processor a second ratio tells hashes for processor time, whoever else wanted the processor.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console

from backends.opencl.backend import ids
from backends.opencl.runtime import Identity
from backends.opencl.worker.program import open_folder
from backends.opencl.worker.proof import open_search
from backends.opencl.worker.search import LAUNCH_S
from backends.opencl.worker.tune import recall, untuned
from benchmarks import report
from benchmarks.opencl.launches import Walk
from benchmarks.pipeline import program
from benchmarks.pipeline.benchmark import Figure, pair

_IDENTITY = TypeAdapter(Identity)
_HARD = 1 << 200  # no hits
_WARM_S = 1.0
_NICE = 19  # as the worker of a runtime on the processor
_TUNE = {"MINER_BACKENDS_OPENCL_TUNE": "false"}  # what is remembered is used, and nothing measured


def measure(
    identity: Identity, found: Sequence[Identity], state: Path, options: argparse.Namespace, console: Console
) -> list[Figure]:
    """Pairs in the order miner, bare, bare, miner: a trend falls on both. Raises ProgramError."""
    device = ids(found)[identity]
    words = ["--backend", "opencl", "--intensity", f"{1e3 * LAUNCH_S:g}"]
    by_clock, by_own_time = [], []
    with report.progress(console) as progress:
        task = progress.add_task("miner against search", total=options.pairs)
        for number in range(options.pairs):
            whole, bare = pair(
                lambda: program.mine_on(device, state, options.seconds, words, **_TUNE),
                lambda: search_alone(identity, state, options.seconds),
                second_first=number % 2 == 1,
            )
            by_clock.append(whole.hashes / whole.seconds / (bare.hashes / bare.seconds))
            by_own_time.append(whole.hashes / whole.processor_s / (bare.hashes / bare.processor_s))
            progress.advance(task)
    figures = [Figure("whole/bare, by the clock", "ratio", by_clock, 0.99, at_least=True)]
    if identity.type == "cpu":
        figures.append(Figure("whole/bare, by processor time", "ratio", by_own_time, 0.99, at_least=True))
    title = f"the whole miner, {options.pairs} pairs of {options.seconds:g} s"
    columns = ["figure", "median", "min", "max", "p99", "target", "met"]
    report.table(console, title, columns, (figure.row() for figure in figures))
    return figures


def search_alone(identity: Identity, state: Path, seconds: float) -> program.Worked:
    """Run the search in a process of its own. Raises ProgramError."""
    command = [sys.executable, "-m", "benchmarks.opencl.program", str(state), str(seconds)]
    answer = subprocess.run(  # noqa: S603 # our own interpreter and module
        [*command, _IDENTITY.dump_json(identity).decode()], capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise program.ProgramError(f"the bare search ended with {answer.returncode}: {answer.stderr[-2000:]}")
    return program.Worked(**json.loads(answer.stdout.splitlines()[-1]))


def _search(identity: Identity, state: Path, seconds: float) -> program.Worked:
    if identity.type == "cpu":
        os.nice(_NICE)
    folder, _ = open_folder(state, identity)
    search = open_search(identity, (recall(identity, folder) or untuned(identity)).forms, folder)
    versions = [1 << 29 | row << 13 for row in range(search.midstates)]
    walk = Walk(search, search.prepare(bytes(76), versions, _HARD))
    walk.go(_WARM_S)
    walk.forget()
    begun, processor = time.perf_counter(), time.process_time()
    walk.go(seconds)
    return program.Worked(walk.hashes, time.perf_counter() - begun, time.process_time() - processor)


def _main(state: str, seconds: str, identity: str) -> None:
    worked = _search(_IDENTITY.validate_json(identity), Path(state), float(seconds))
    print("\n" + json.dumps(asdict(worked)), flush=True)
    os._exit(0)  # drivers' own ends may crash; the answer is given


if __name__ == "__main__":
    _main(*sys.argv[1:])
