"""Where what the tests fetch is kept, so that it is fetched once per machine.

A folder appears under its final name only when it is complete: its presence is the stamp.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 240.0  # for one fetching command: a slow mirror, not a dead one


class UnavailableError(Exception):
    """This machine lacks something that fetching needs; the message says what to install."""


class FetchError(Exception):
    """Everything needed was there, and fetching failed all the same."""


def cache_folder() -> Path:
    return Path(os.environ.get("ANGARA_TEST_CACHE") or REPOSITORY / ".cache" / "real").absolute()


def fetched(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder of that name, filled first if no earlier run has done so; other processes wait meanwhile."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    folder, partial = cache / name, cache / f"{name}.partial"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fill(partial)
            partial.rename(folder)
    return folder


def output_of(command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """What a fetching command prints; its last words are in the error when it fails."""
    try:
        done = subprocess.run(
            command,
            env=None if env is None else {**os.environ, **env},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"{' '.join(command)}: no end after {PATIENCE_S:.0f} s") from error
    if done.returncode:
        raise FetchError(f"{' '.join(command)}: exit status {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout
