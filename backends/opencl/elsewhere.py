"""Asking a process of our own that drivers are loaded into: it may crash, print what it likes, or hang."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_KILL_S = 2.0  # for the kernel to end a killed process: one that a driver holds there is waited for no longer


@dataclass(frozen=True, slots=True)
class Answered:
    """status: negative for the signal that ended it."""

    status: int
    said: bytes
    complaints: bytes  # its standard error


def ask(
    command: Sequence[str], patience_s: float, request: bytes = b"", environ: Mapping[str, str] | None = None
) -> Answered | None:
    """Start it, with this on its standard input, and wait for its end; None when that takes longer, and it is killed.

    No signal for this process reaches it. Raises OSError when it cannot be started.
    """
    process = subprocess.Popen(  # noqa: S603 # our own interpreter and module
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(environ or {}), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        said, complaints = process.communicate(request, timeout=patience_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)
    return Answered(process.returncode, said, complaints)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As far as it can be ended."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()
