"""A miner at terminals as operators have them: in tmux, under nohup, started by a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.miner.test_at_a_terminal import ENDED_S, children, mining
from tests.running import Home, home, summary_of
from tests.terminals import Session
from tests.virtual.pool import VirtualPool


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def test_a_hang_up_with_the_terminal_alive_reads_again_and_under_nohup_none_is_heard(
    operator: Home, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with VirtualPool() as pool:
        words = mining(pool, tmp_path)
        with Session(words, tmp_path / "run", operator.environ, log) as session:
            session.until(lambda: "share_accepted" in log.read_text())
            session.signal(signal.SIGHUP)
            session.until(lambda: "reloaded" in log.read_text())
            session.types(b"\x1c")  # Ctrl-\
            session.until(lambda: "ended 0" in session.told())
        assert "finishing signal=SIGQUIT" in log.read_text()
        log.unlink()
        with Session(["nohup", *words], tmp_path / "again", operator.environ, log) as session:
            session.until(lambda: "share_accepted" in log.read_text())
            session.close()
            heard = log.read_text().count("share_accepted")
            session.until(lambda: log.read_text().count("share_accepted") > heard + 1)
            os.kill(session.pid, signal.SIGTERM)
            session.until(lambda: "ended 0" in session.told())
        assert "reloaded" not in log.read_text()


class Tmux:
    """A tmux server of its own, with one window that runs an interactive shell."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        tmux = shutil.which("tmux")
        assert tmux, "apt-get install tmux"
        self._command = [tmux, "-S", str(folder / "tmux.socket"), "-f", "/dev/null"]
        self._environ = environ | {"TERM": "xterm", "SHELL": "/bin/sh", "HISTFILE": ""}
        self("new-session", "-d", "-x", "120", "-y", "40", "/bin/bash --norc --noprofile -i")

    def __call__(self, *words: str) -> None:
        subprocess.run([*self._command, *words], env=self._environ, check=True, timeout=20)

    def types(self, line: str) -> None:
        self("send-keys", line, "Enter")


def until(happened: Callable[[], object], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("end", ["kill-server", "kill-pane"])
@pytest.mark.parametrize("job", ["in front", "in the background", "stopped"])
def test_a_terminal_that_is_closed_in_tmux_leaves_no_process_and_the_shares_are_handed_in(
    operator: Home, tmp_path: Path, end: str, job: str
) -> None:
    log, pid = tmp_path / "log", tmp_path / "pid"
    log.touch()
    with VirtualPool() as pool:
        tmux = Tmux(tmp_path, operator.environ)
        background = "&" if job == "in the background" else ""
        words = shlex.join(mining(pool, tmp_path))
        # The subshell becomes the miner and so has its pid.
        tmux.types(f"(echo $BASHPID > {pid}; exec {words} 2> {log}) {background}")
        until(lambda: "share_accepted" in log.read_text())
        miner = int(pid.read_text())
        if job == "stopped":
            tmux("send-keys", "C-z")
            until(lambda: " stopped " in log.read_text())
            until(lambda: Path(f"/proc/{miner}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        family = [miner, *children(miner)]
        tmux(end)
        until(lambda: not [one for one in family if Path(f"/proc/{one}").exists()], ENDED_S)
    shares = summary_of(tmp_path / "summary.json")["shares"]
    assert shares["accepted"] > 0
    assert shares["submitted"] == shares["accepted"] + shares["rejected"] + shares["stale"]
    # A shell that ends sends SIGTERM to its stopped jobs, which may be heard first.
    assert "the terminal is gone" in log.read_text() or (job == "stopped" and "signal=SIGTERM" in log.read_text())


def test_a_detached_tmux_mines_on(operator: Home, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with VirtualPool() as pool:
        tmux = Tmux(tmp_path, operator.environ)  # nobody is attached
        tmux.types(f"{shlex.join(mining(pool, tmp_path))} 2> {log}")
        until(lambda: log.read_text().count("share_accepted") > 2)
        tmux("send-keys", "C-c")
        until(lambda: "finished" in log.read_text())
        tmux("kill-server")
    assert "the terminal is gone" not in log.read_text()


def test_a_miner_in_a_session_of_its_own_does_not_hear_of_a_closed_terminal(operator: Home, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with VirtualPool() as pool:
        words = ["setsid", "--fork", "sh", "-c", f'echo $$ > {tmp_path}/pid; exec "$@" 2> {log}', "sh"]
        with Session([*words, *mining(pool, tmp_path)], tmp_path / "run", operator.environ) as session:
            until(lambda: "share_accepted" in log.read_text())
            session.close()
            heard = log.read_text().count("share_accepted")
            until(lambda: log.read_text().count("share_accepted") > heard + 1)
        miner = int((tmp_path / "pid").read_text())
        os.kill(miner, signal.SIGTERM)
        until(lambda: "finished" in log.read_text())
        until(lambda: not Path(f"/proc/{miner}").exists())
