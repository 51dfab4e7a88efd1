"""The soak itself, for seconds: with the miner as it is nothing is wrong, with a planted defect something is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.real.cache import REPOSITORY as ROOT


def soak(kernels: Path, folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.soak", "--out", str(folder / "out"), "--keep", str(folder), *arguments]
    command += ["--kernels", str(kernels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (folder / "out").exists(), done.stderr
    return done.returncode, json.loads((folder / "out").read_text())


def test_a_short_soak_finds_nothing_wrong(kernels: Path, tmp_path: Path) -> None:
    status, result = soak(kernels, tmp_path, "--minutes", "0.2", "--seed", "7")
    assert (status, result["broken"]) == (0, [])
    assert result["shares"]["accepted"] > 3
    assert sum(sum(kinds.values()) for kinds in result["misbehaviours"].values()) > 0
    assert result["memory"]["samples"]


def test_a_miner_that_forgets_shares_does_not_pass(kernels: Path, tmp_path: Path) -> None:
    status, result = soak(kernels, tmp_path, "--minutes", "0.15", "--seed", "8", "--defect", "lose")
    assert status == 1
    assert result["shares"]["lost"] > 0
