from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_measures_each_step_and_finds_memory_flat(tmp_path: Path) -> None:
    file = tmp_path / "result.json"
    arguments = ["node", "--templates", "200", "--transactions", "300", "--json", str(file)]
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result = json.loads(file.read_text())
    assert {name: spread["samples"] for name, spread in result["seconds"].items()} == {
        "parse": 200,
        "new tip": 20,
        "same tip": 180,
        "audit": 200,
    }
    assert 0 < result["seconds"]["new tip"]["min"] < 0.02
    assert result["growth_bytes"] < 8 << 20
