"""A miner at a real terminal: closed under it and stopped and continued at it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Home, home, summary_of
from tests.terminals import Session
from tests.virtual.pool import VirtualPool

ENDED_S = 15.0  # what an operator who closes a terminal waits for at most


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def mining(pool: VirtualPool, folder: Path) -> list[str]:
    """The words of a miner that hands in shares."""
    where = ["--pool", f"stratum+tcp://127.0.0.1:{pool.port}", "--user", "account.worker"]
    what = ["--backend", "cpu", "--threads", "1", "--summary", str(folder / "summary.json")]
    return [sys.executable, "-m", "miner.commands.cli", *where, *what]


def children(pid: int) -> list[int]:
    """Every process that this one, or one of those, has started."""
    found = [int(word) for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
    return [*found, *(grandchild for child in found for grandchild in children(child))]


def test_a_terminal_that_is_closed_ends_the_run_which_hands_in_and_leaves_no_process(
    operator: Home, tmp_path: Path
) -> None:
    with VirtualPool() as pool, Session(mining(pool, tmp_path), tmp_path / "run", operator.environ) as session:
        session.until(lambda: b"share_accepted" in session.shown)
        family = [session.pid, *children(session.pid)]
        session.close()
        session.until(lambda: "ended" in session.told(), within_s=ENDED_S)
        assert "ended 0" in session.told()
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    shares = summary_of(tmp_path / "summary.json")["shares"]
    assert shares["accepted"] > 0
    assert shares["submitted"] == shares["accepted"] + shares["rejected"] + shares["stale"]


def test_ctrl_z_stops_it_with_its_devices_off_and_a_terminal_closed_meanwhile_ends_it(
    operator: Home, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with VirtualPool() as pool, Session(mining(pool, tmp_path), tmp_path / "run", operator.environ, log) as session:
        session.until(lambda: "share_accepted" in log.read_text())
        session.types(b"\x1a")
        session.until(lambda: "stopped by SIGTSTP" in session.told())
        assert session.shown.endswith(b"\n"), "the terminal is given back"
        assert b"\x1b[?1049l" in session.shown
        told = log.read_text()
        assert told.count(" stopped ") == 1
        drawn = session.shown.count(b"\x1b[?1049h")
        session.signal(signal.SIGCONT)  # as bg does: the shell keeps the terminal
        session.until(lambda: log.read_text().count("share_accepted") > told.count("share_accepted"))
        assert session.shown.count(b"\x1b[?1049h") == drawn, "a job in the background draws no screen"
        session.signal(signal.SIGTSTP)
        session.until(lambda: session.told().count("stopped by SIGTSTP") == 2)
        session.close()
        session.until(lambda: "ended" in session.told(), within_s=ENDED_S)
        assert "ended 0" in session.told()
    assert "the terminal is gone" in log.read_text()
