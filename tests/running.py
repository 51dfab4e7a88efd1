"""The `miner` command as a process of its own: started, watched through its log, ended by its pid."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 90.0


class Miner:
    """One running `miner`, its output read as it comes."""

    def __init__(self, arguments: tuple[str, ...], folder: Path, environ: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "miner.commands.cli", *arguments],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def output(self) -> str:
        return self.log.read_text()

    def until(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while self.output().count(text) < times:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.output()}"
            time.sleep(0.02)

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class Home:
    """An operator's home: each miner started from it has a working folder of its own, and they share a state folder.

    `kernels` holds compiled kernels, so that no home compiles them again.
    """

    def __init__(self, folder: Path, kernels: Path, state: str = "state") -> None:
        self.folder = folder
        self.state = folder / state
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("MINER_")} | {
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "xdg"),
            "MINER_STATE_DIR": str(self.state),
            "NO_COLOR": "1",
            "OCL_ICD_VENDORS": str(folder / "none.icd"),  # what pip's runtime is not to be asked for at every start
        }
        # Copies, not links: a cache of code is used only where it lies in a folder that is nobody else's.
        shutil.copytree(kernels, self.state / "kernels")
        self.state.chmod(0o700)
        self._started: list[Miner] = []

    def start(self, *arguments: str, **more: str) -> Miner:
        """Start `miner` with these arguments and further variables."""
        run = self.folder / f"{self.state.name}-run{len(self._started)}"
        self._started.append(Miner(arguments, run, self.environ | more))
        return self._started[-1]

    def end(self) -> None:
        """Kill what still runs."""
        for miner in self._started:
            if miner.process.poll() is None:
                miner.process.kill()
                miner.process.wait()


@contextmanager
def home(folder: Path, kernels: Path, state: str = "state") -> Iterator[Home]:
    """A home whose miners end with the block."""
    opened = Home(folder, kernels, state)
    try:
        yield opened
    finally:
        opened.end()


def summary_of(path: Path) -> dict[str, Any]:
    """What --summary wrote."""
    content: dict[str, Any] = json.loads(path.read_text())
    return content
