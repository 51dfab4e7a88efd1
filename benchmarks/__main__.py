from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.registry import BENCHMARKS


def main(arguments: list[str]) -> int:
    """Run a benchmark, the first one if none is named; 1 if it found something wrong, 2 for a wrong command line."""
    first = arguments[:1]
    if not first or (first[0].startswith("-") and first[0] not in {"-h", "--help"}):
        arguments = [BENCHMARKS[0].name, *arguments]
    console = Console()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What this machine can do.")
    commands = parser.add_subparsers(dest="name", title="benchmarks", metavar="NAME", required=True)
    for benchmark in BENCHMARKS:
        command = commands.add_parser(benchmark.name, help=benchmark.question, description=benchmark.question)
        command.add_argument("--json", type=Path, metavar="FILE", help="write the result to this file too")
        if arguments[0] == benchmark.name:  # only the one that is wanted is imported
            benchmark.load().configure(command)
    options = parser.parse_args(arguments)
    (benchmark,) = [x for x in BENCHMARKS if x.name == options.name]
    result = benchmark.load().run(options, console)
    if options.json is not None:
        report.write_json(options.json, result)
    return 1 if result.get("wrong") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
