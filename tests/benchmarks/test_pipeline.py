from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from backends.base import Work
from benchmarks.measure import percentile
from benchmarks.pipeline import program, tips
from benchmarks.pipeline.benchmark import Figure

ROOT = Path(__file__).parents[2]


def work_on(tip: bytes) -> Work:
    return Work(
        id=1,
        epoch=0,
        prev_hash=tip,
        merkle_root=bytes(32),
        version=0x20000000,
        version_mask=0,
        ntime=1,
        ntime_span=0,
        nbits=0x207FFFFF,
        target=1,
    )


def test_a_figure_is_held_against_its_target_in_the_right_direction() -> None:
    assert Figure("", "s", [1.0, 2.0, 9.0], 2.0).met is True
    assert Figure("", "s", [1.0, 2.0, 9.0], 2.0, "max").met is False
    assert Figure("", "ratio", [0.9, 0.995], 0.99, at_least=True).met is False
    assert Figure("", "ratio", [0.99, 0.995], 0.99, at_least=True).met is True
    assert Figure("", "s", [1.0]).met is None


def test_the_99th_percentile_leaves_out_one_in_a_hundred() -> None:
    assert percentile([float(x) for x in range(200, 0, -1)], 0.99) == 199.0
    assert Figure("", "ms", [1.0] * 197 + [7.0] * 3, 4.0, "p99").met is False
    assert Figure("", "ms", [1.0] * 199 + [7.0], 4.0, "p99").met is True


def test_a_program_without_its_terminal_is_told_from_one_with() -> None:
    with program._output(live=True) as terminal:
        assert os.isatty(terminal)
        os.write(terminal, b"x" * (1 << 16))  # more than a terminal holds: somebody reads
    with program._output(live=False) as nowhere:
        assert nowhere == subprocess.DEVNULL


def test_time_neither_run_nor_ready_is_time_that_a_thread_waited() -> None:
    before = program._Look(10.0, {1: 1.0, 2: 1.0}, {1: 0.0, 2: 0.0})
    after = program._Look(12.0, {1: 2.5, 2: 3.0}, {1: 0.3, 2: 0.0})
    assert after.waited_since(before) == pytest.approx(0.05)
    with pytest.raises(program.ProgramError, match="too shortly"):
        after.waited_since(after)


def test_waiting_counts_as_the_programs_own_time() -> None:
    assert program.Mined(100, 10.0, 20.0, 0.0, 2).by_own_time_hps == 5.0
    assert program.Mined(100, 10.0, 15.0, 0.25, 2).by_own_time_hps == 5.0


def test_a_miner_that_does_not_mine_is_reported_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(program.ProgramError, match="threads"):
        program.mine(tmp_path, 1.0, 1_000_000, live=False)


def test_a_switch_is_over_when_the_last_thread_scans_on_the_new_tip() -> None:
    over: list[bool] = []
    watch = tips.Stopwatch(2, lambda: over.append(True))
    old, new = np.zeros((1, 3), np.uint32), np.zeros((1, 3), np.uint32)
    watch.expect(b"\1" * 32)
    watch.took(work_on(b"\0" * 32))
    watch.took(None)
    watch.prepared(work_on(b"\0" * 32).header(0, 1, 0)[:76], old)
    watch.scans(old)
    assert (watch.taken, watch.scanned) == ([], {})

    def thread() -> None:
        watch.took(work_on(b"\1" * 32))
        watch.scans(old)
        watch.prepared(work_on(b"\1" * 32).header(0, 1, 0)[:76], new)
        watch.scans(new)
        watch.scans(new)

    thread()
    assert (len(watch.taken), len(watch.scanned), over) == (1, 1, [])
    other = threading.Thread(target=thread)
    other.start()
    other.join()
    assert (len(watch.scanned), over) == (2, [True])
    assert max(watch.taken) <= max(watch.scanned.values())
    watch.expect(b"\2" * 32)
    watch.scans(new)
    assert (watch.taken, watch.scanned) == ([], {})


def test_a_part_that_does_not_exist_is_wrong_usage() -> None:
    command = [sys.executable, "-m", "benchmarks", "pipeline", "--parts", "flux"]
    assert subprocess.run(command, capture_output=True, check=False, cwd=ROOT).returncode == 2
