from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from miner.guard import Guard, left_on, main

MINER = """
import sys, time
from miner.guard import Guard
guard = Guard([], [sys.executable, "-c", sys.argv[1], sys.argv[2]])
guard.on("asic:A"); guard.on("asic:B"); guard.off("asic:A")
print("mining", flush=True)
time.sleep(60)
"""
GUARD = """
import pathlib, sys
from miner import guard
def execute(words):
    path = pathlib.Path(sys.argv[1])
    path.with_suffix(".part").write_text(" ".join(words[1:]))
    path.with_suffix(".part").rename(path)
guard.main(["--config=some.toml"], sys.stdin.buffer, execute)
"""


def test_a_miner_that_is_killed_leaves_its_guard_to_turn_off_what_is_on(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with subprocess.Popen([sys.executable, "-c", MINER, GUARD, str(told)], stdout=subprocess.PIPE) as miner:
        assert miner.stdout is not None
        assert miner.stdout.readline() == b"mining\n"
        os.kill(miner.pid, signal.SIGKILL)
    give_up = time.monotonic() + 20
    while not told.exists():
        assert time.monotonic() < give_up, "nobody turned anything off"
        time.sleep(0.01)
    assert told.read_text() == "-m miner.cli off --config=some.toml --device asic:B"


@pytest.mark.parametrize(
    ("lines", "on"),
    [
        ([], []),
        ([b"+asic:A\n", b"-asic:A\n"], []),
        ([b"+asic:A\n", b"+asic:B\n", b"+asic:A\n"], ["asic:A", "asic:B"]),
        ([b"-asic:A\n", b"\xff\n", b"\n", b"+asic:\xff\n"], ["asic:\ufffd"]),
    ],
)
def test_what_is_on_is_what_was_said_last(lines: list[bytes], on: list[str]) -> None:
    assert left_on(lines) == on


def test_nothing_is_done_when_nothing_is_on() -> None:
    main([], [b"+asic:A\n", b"-asic:A\n"], lambda _words: pytest.fail("nothing was on"))


def test_a_guard_that_somebody_ended_does_not_end_its_miner() -> None:
    guard = Guard([], [sys.executable, "-c", "pass"])
    guard._process.wait()
    for _ in range(3):
        guard.on("asic:A")
        guard.off("asic:A")
    guard.close()
