from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.stratum.benchmark import growth
from benchmarks.stratum.pool import EVERY_HASH, Desk, difficulty, notify

ROOT = Path(__file__).parents[2]


def test_it_answers_every_question(tmp_path: Path, kernels: Path) -> None:
    file = tmp_path / "result.json"
    arguments = ["--switches=5", "--threads=1", "--batches=2", "--hours=0.5", "--json", str(file)]
    arguments += ["--state", str(kernels.parent)]
    command = [sys.executable, "-W", "error", "-m", "benchmarks", "stratum", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    figures = {x["name"]: x for x in json.loads(file.read_text())["figures"]}
    assert {name for name, x in figures.items() if x["target"] is not None} == {
        "notify, 13 branches, wire to first hash",
        "the same, 99 of 100",
        "a notify of 100 kB",
        "shares verified and made ready, one core",
    }
    stages = [figures[f"notify, 13 branches, wire to {stage}"] for stage in ("work", "first hash")]
    assert 0 < stages[0]["median"] < stages[1]["median"] < 100
    assert stages[0]["samples"] == 5
    assert figures["shares in that time"]["median"] == 0.5 * 3600 / 2


def test_growth_is_what_comes_after_all_has_settled() -> None:
    filling = [float(x) for x in range(20)]
    assert growth([*filling, *[20.0] * 30]) == 0
    assert growth([*filling, *[20.0] * 16, *[25.0] * 14]) == 5


def test_the_model_pools_jobs_and_answers_are_taken() -> None:
    desk = Desk()
    desk.connect()
    desk.hear(difficulty(EVERY_HASH) + notify(1))
    work = desk.feed.take(0.0)
    assert work is not None
    for hit in desk.hits(work, 3):
        desk.find(hit)
    assert desk.accepted == 0
    desk.answer()
    assert desk.accepted == 3
