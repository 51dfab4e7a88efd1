"""The benchmark of the whole program, from start to end: a dozen processes, each for as long as it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.cache import REPOSITORY as ROOT

pytestmark = pytest.mark.timeout(400)


def test_the_pipeline_benchmark_answers_every_question(tmp_path: Path, kernels: Path) -> None:
    result = tmp_path / "result.json"
    command = [sys.executable, "-W", "error", "-m", "benchmarks", "pipeline", "--live", "--json", str(result)]
    command += ["--pairs=1", "--seconds=0.6", "--starts=1", "--switches=3", "--threads=1"]
    command += ["--state", str(kernels.parent)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (answer.returncode, answer.stderr) == (0, "")
    figures = {x["name"]: x for x in json.loads(result.read_text())["figures"]}
    assert all(0 <= x["min"] <= x["median"] <= x["max"] for x in figures.values())
    assert {name for name, x in figures.items() if x["target"] is not None} == {
        "whole/bare, live screen, by the clock",
        "whole/bare, live screen, by its own time",
        "first hash, kernel cached",
        "first hash, empty cache",
        "resident, kernel cached",
        "resident, after compiling",
        "tip, wire to work, low",
        "tip, handled to work, low",
        "a lease, 12 branches",
    }
    assert figures["whole/bare, live screen, by its own time"]["median"] == pytest.approx(1, abs=0.5)
    assert figures["first hash, kernel cached"]["median"] < figures["first hash, empty cache"]["median"]
    assert 50 < figures["resident, kernel cached"]["median"] < 1000
    for priority in ("low", "idle", "normal"):
        stages = [figures[f"tip, handled to {stage}, {priority}"]["median"] for stage in ("work", "scan")]
        assert 0 < stages[0] < stages[1]
        assert figures[f"tip, wire to work, {priority}"]["samples"] == 3
