"""The benchmarks there are. Each stands in a module with `configure` and `run`, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
from dataclasses import dataclass
from typing import Any, Protocol, cast

from rich.console import Console


class BenchmarkModule(Protocol):
    """What a benchmark's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the benchmark's own options."""

    def run(self, options: argparse.Namespace, console: Console) -> dict[str, Any]:
        """Measure, print what a person wants to know, and return what a program wants to know, ready for JSON."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A name for the command line, and the question that it answers."""

    name: str
    question: str
    module: str

    def load(self) -> BenchmarkModule:
        return cast(BenchmarkModule, importlib.import_module(self.module))


BENCHMARKS = (
    Benchmark("cpu", "How fast does each search hash on this processor, and how soon?", "benchmarks.cpu.benchmark"),
    Benchmark(
        "pipeline",
        "What does the whole program make of it: efficiency, start, memory, new tips, leases?",
        "benchmarks.pipeline.benchmark",
    ),
    Benchmark(
        "stratum",
        "How soon is a pool's notify hashed on, what do large jobs and many shares cost, does memory stay flat?",
        "benchmarks.stratum.benchmark",
    ),
    Benchmark("scrape", "What does a scrape of a hundred devices take, and a flood of them?", "benchmarks.farm.scrape"),
    Benchmark("farm", "What does Prometheus need for a farm of so many miners?", "benchmarks.farm.benchmark"),
    Benchmark(
        "opencl",
        "How fast does each graphics card hash, and which form of the search suits it?",
        "benchmarks.opencl.benchmark",
    ),
    Benchmark("node", "How soon is a node's template a job, and does memory stay flat?", "benchmarks.node"),
    Benchmark(
        "asic",
        "What do USB miners cost their host, and how soon have they a new job and we their results?",
        "benchmarks.asic.benchmark",
    ),
)
