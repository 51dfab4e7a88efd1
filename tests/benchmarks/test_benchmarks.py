from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backends import kernels
from benchmarks import machine
from benchmarks.__main__ import main
from benchmarks.measure import Spread, rates, within_sigmas
from benchmarks.registry import BENCHMARKS, Benchmark

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_a_spread_shows_the_noise_and_what_is_behind_it() -> None:
    spread = Spread.of([float(x) for x in range(100, 0, -1)])
    assert (spread.median, spread.min, spread.max, spread.p95, spread.samples) == (50.5, 1.0, 100.0, 96.0, 100)
    assert Spread.of([3.0]).p95 == 3.0
    with pytest.raises(ValueError, match="no samples"):
        Spread.of([])


def test_a_rate_is_an_amount_over_a_time() -> None:
    samples = rates(lambda: 1000, 0.01)
    assert samples
    assert min(samples) > 0


def test_chance_is_told_from_a_lost_hit() -> None:
    assert within_sigmas(1000, 1150.0, 5.0)
    assert not within_sigmas(1000, 1200.0, 5.0)
    assert within_sigmas(0, 0.1, 5.0)


def test_other_peoples_work_and_stolen_time_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine.Clock(wall_s=0.0, busy_s=0.0, stolen_s=0.0, own_s=0.0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)

    def after(**changed: float) -> list[str]:
        values = {"wall_s": 10.0, "busy_s": 10.1, "stolen_s": 0.0, "own_s": 10.0} | changed
        monkeypatch.setattr(machine.Clock, "now", lambda: machine.Clock(**values))
        return machine.disturbances(before)

    assert after() == []
    assert after(busy_s=15.0) == ["other processes used 50% of a core"]
    assert after(stolen_s=1.0) == ["the hypervisor took 5.0% of the processor time"]
    assert machine.disturbances(None) == []


def test_it_lists_what_there_is_and_knows_nothing_else() -> None:
    answer = bench("--help")
    assert answer.returncode == 0
    assert all(x.name in answer.stdout for x in BENCHMARKS)
    assert bench("flux").returncode == 2


@pytest.mark.parametrize("arguments", [[], ["--json", "{}"]])
def test_without_a_name_it_runs_the_cpu_benchmark(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[argparse.Namespace] = []

    class Nothing:
        def configure(self, parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--seconds", default=7)

        def run(self, options: argparse.Namespace, console: Console) -> dict[str, Any]:
            ran.append(options)
            return {}

    monkeypatch.setattr(Benchmark, "load", lambda _: Nothing())
    assert main([x.format(tmp_path / "out") for x in arguments]) == 0
    assert [(x.name, x.seconds) for x in ran] == [("cpu", 7)]
    assert (tmp_path / "out").exists() == bool(arguments)


def test_the_cpu_benchmark_measures_and_checks_what_it_measures(tmp_path: Path) -> None:
    quick = min((x for x in kernels.candidates() if x.unusable is None), key=lambda x: x.compile_s).name
    answer = bench("cpu", "--seconds", "0.2", "--threads", "1,2", "--kernels", quick, "--json", str(tmp_path / "out"))
    assert (answer.returncode, answer.stderr) == (0, "")
    results = json.loads((tmp_path / "out").read_text())["kernels"]
    assert {(x["name"], x["threads"]) for x in results} == {(quick, 1), (quick, 2)}
    assert len({x["midstates"] for x in results}) == 2
    for result in results:
        rate = result["hashes_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["p95"] <= rate["max"]
        assert result["cycles_per_hash"] == pytest.approx(result["clock_hz"] * result["threads"] / rate["p95"])
        assert result["hits"]["right"]
        assert result["compile_s"] > 0
        assert result["cached_s"] > 0
        assert result["resident_bytes"] > 0


def test_a_kernel_that_is_not_here_is_an_error() -> None:
    answer = bench("cpu", "--kernels", "flux")
    assert answer.returncode == 1
    assert "scalar" in answer.stdout


def test_a_peer_that_says_no_rate_is_an_error_before_anything_is_measured() -> None:
    answer = bench("cpu", "--against", shlex.join([sys.executable, "-c", "print('[12:00] hello')"]))
    assert answer.returncode == 1
    told = " ".join(answer.stdout.split())
    assert "no hash rate in the command's output, whose end is: [12:00] hello" in told
