"""A `miner` at a terminal of its own, which the test can close, and a shell's job control in small."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

PATIENCE_S = 60.0

# A session leader that runs its arguments as a job in front, as a shell does, and says when it stopped or ended.
SHELL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
def hung_up(*_):  # told to the job, as every shell does; this one lives on, to tell how its job ended
    os.killpg(job.pid, signal.SIGHUP)
    os.killpg(job.pid, signal.SIGCONT)
def told(word):
    with open(sys.argv[1], "a") as file:
        file.write(word + "\\n")
stderr = open(sys.argv[2], "w") if sys.argv[2] != "-" else None
job = subprocess.Popen(sys.argv[3:], process_group=0, stderr=stderr)
signal.signal(signal.SIGHUP, hung_up)
os.tcsetpgrp(0, job.pid)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # to take the terminal back from the background
told(f"pid {job.pid}")
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED | os.WCONTINUED)
    if os.WIFSTOPPED(status):
        told("stopped by " + signal.Signals(os.WSTOPSIG(status)).name)
        os.tcsetpgrp(0, os.getpgrp())
    elif os.WIFCONTINUED(status):
        told("continued")
    else:
        told(f"ended {os.waitstatus_to_exitcode(status)}")
        break
"""


class Session:
    """A job at a terminal. `log`: where its standard error goes, the terminal if None."""

    def __init__(self, words: list[str], folder: Path, environ: dict[str, str], log: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self._told = folder / "told"
        self._told.touch()
        if log:
            log.touch()
        self.master, slave = pty.openpty()
        self.shown = b""
        try:
            self._shell = subprocess.Popen(
                [sys.executable, "-c", SHELL, str(self._told), str(log or "-"), *words],
                cwd=folder,
                env={**environ, "TERM": "xterm"},
                stdin=slave,
                stdout=slave,
                stderr=slave,
                start_new_session=True,
            )
        finally:
            os.close(slave)
        self._wake, self._woken = os.pipe()[::-1]
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.pid and "ended" not in self.told():
            os.kill(self.pid, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait()
        self.close()

    @property
    def pid(self) -> int:
        """Of the job; 0 until it runs."""
        first = self.told().partition("\n")[0]
        return int(first.removeprefix("pid ")) if first.startswith("pid ") else 0

    def told(self) -> str:
        """What the shell has seen of its job."""
        return self._told.read_text()

    def until(self, happened: Callable[[], object], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < deadline, f"{self.told()}\n{self.shown.decode(errors='replace')}"
            time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        """Send it to the whole job, as a shell does."""
        os.killpg(self.pid, number)

    def types(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        """Close the terminal, as a window or a connection that is gone does."""
        if self.master < 0:
            return
        os.write(self._wake, b"x")  # a thread that reads would hold the terminal open
        self._reader.join(10)
        for end in (self.master, self._wake, self._woken):
            os.close(end)
        self.master = -1

    def _read(self) -> None:
        while True:
            ready, _, _ = select.select([self.master, self._woken], [], [])
            if self._woken in ready:
                return
            try:
                self.shown += os.read(self.master, 65536)
            except OSError:  # nobody has it open any more
                return
