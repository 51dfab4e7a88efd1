"""A run of so many seconds ends, whatever there is to mine."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from backends.base import State
from miner.engine.standstill import LEAST_S, Standstill
from miner.telemetry.snapshot import Snapshot
from miner.work.events import Finish
from tests.running import PATIENCE_S, home
from tests.telemetry.snapshots import device, snapshot, source

MINING = snapshot()
WITHOUT_POOL = snapshot(sources=(source(active=False), source("backup", active=False)))
WITHOUT_DEVICE = snapshot(device(state=State.DEAD), device(state=State.OFF), device(state=State.SICK))


def shown(standstill: Standstill, view: Snapshot, *, seconds: int, at: int = 0) -> Finish | None:
    """What it says at the last of so many looks, a second apart; nothing before."""
    for second in range(at, at + seconds):
        assert standstill.handle(_at(view, second)) is None
    return standstill.handle(_at(view, at + seconds))


def _at(view: Snapshot, second: int) -> Snapshot:
    return snapshot(*view.devices, sources=view.sources, now=1000.0 + second, mining_s=12.3)


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (WITHOUT_POOL, "mined for 12 of 100 seconds, stood still for 100: no pool gives work"),
        (WITHOUT_DEVICE, "mined for 12 of 100 seconds, stood still for 100: no device works"),
    ],
    ids=["without pool", "without device"],
)
def test_as_long_as_was_to_be_mined_without_any_mining_is_the_end(view: Snapshot, reason: str) -> None:
    assert shown(Standstill(100.0), view, seconds=100) == Finish(ok=False, reason=reason)


def test_a_short_run_has_patience_with_a_slow_pool() -> None:
    assert shown(Standstill(1.0), WITHOUT_POOL, seconds=int(LEAST_S)) is not None


def test_time_without_mining_adds_up_and_mining_is_no_part_of_it() -> None:
    standstill = Standstill(100.0)
    assert shown(standstill, WITHOUT_POOL, seconds=70) is None
    assert shown(standstill, MINING, seconds=200, at=71) is None
    assert shown(standstill, WITHOUT_DEVICE, seconds=29, at=272) is not None


def test_with_all_devices_kept_off_the_end_says_by_what() -> None:
    held = {"interlock": "the interlock is open"}
    standstill = Standstill(1.0)
    looks = [standstill.handle(snapshot(device(state=State.PAUSED), held=held, now=float(at))) for at in range(62)]
    assert looks[:60] == [None] * 60
    assert str(looks[60]).endswith("all devices are kept off: the interlock is open')")


def test_the_time_for_which_the_process_was_stopped_is_no_standstill() -> None:
    held = {"stopped": "stopped from the terminal (Ctrl-Z)"}
    standstill = Standstill(1.0)
    for now in (0.0, 1.0, 86_400.0):
        assert standstill.handle(snapshot(device(state=State.PAUSED), held=held, now=now)) is None


def test_a_device_between_two_jobs_does_not_stand_still() -> None:
    idle = snapshot(device(state=State.IDLE), device("asic:1", state=State.DEAD))
    assert shown(Standstill(100.0), idle, seconds=1000) is None


def test_what_compiles_does_not_stand_still() -> None:
    starting = snapshot(device(state=State.STARTING), device(state=State.DEAD))
    assert shown(Standstill(100.0), starting, seconds=1000) is None


def test_the_command_ends_with_a_failure_while_its_pool_is_down(tmp_path: Path, kernels: Path) -> None:
    quickly = (
        "import sys, miner.engine.standstill as s; s.LEAST_S = 0.5; "
        "from miner.commands.cli import main; sys.exit(main())"
    )
    with socket.socket() as nobody_listens, home(tmp_path, kernels) as operator:
        nobody_listens.bind(("127.0.0.1", 0))
        pool = f"stratum+tcp://127.0.0.1:{nobody_listens.getsockname()[1]}"
        words = ["--pool", pool, "--user", "u", "--seconds", "0.1", "--backend", "cpu", "--threads", "1"]
        command = [sys.executable, "-c", quickly, *words]
        done = subprocess.run(
            command, env=operator.environ, capture_output=True, text=True, check=False, timeout=PATIENCE_S
        )
    assert done.returncode == 1
    assert "mined for 0 of 0.1 seconds, stood still for" in done.stderr
    assert "no pool gives work" in done.stderr
