"""Our own Python in another process: it may crash, hang or print what it likes, and it ends with this process.

parent    process = start(command, words)     the child's first argument is the parent's process id
answered = finish(process, 30.0)    or `ask`, which does both
child     end_with(int(sys.argv[1]))          before it does anything else
"""

from __future__ import annotations

import ctypes
import os
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

KILL_S = 2.0  # for the kernel to end a killed process: one that a driver holds there is waited for no longer
OUTPUT_MAX = 1 << 20  # bytes of either output that are kept: the last ones
_PIECE = 1 << 16
_LAST_MAX = 300  # characters
_PR_SET_PDEATHSIG = 1  # prctl(2)

Process = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Answered:
    """How a child ended.

    status: its exit status, negative for the signal that ended it. said: its standard output. complaints: its standard
    error.
    """

    status: int
    said: bytes
    complaints: bytes


def start(command: Sequence[str], words: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Process:
    """Start COMMAND PID WORDS with three unbuffered pipes, where PID is this process's id. Raises OSError.

    The child imports what this process can import. It has a session of its own, so no signal from a terminal reaches
    it. A child that calls `end_with` ends with the thread that started it.
    """
    return subprocess.Popen(  # noqa: S603 # our own interpreter and module
        [*command, str(os.getpid()), *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, **(environ or {}), "PYTHONPATH": os.pathsep.join(sys.path)},
        bufsize=0,
    )


def finish(process: Process, patience_s: float, request: bytes = b"") -> Answered | None:
    """Write `request` to the child's standard input, close that, and wait for the child's end.

    Returns None when the child takes longer than `patience_s` seconds; it is killed then. Its pipes are closed.
    """
    give_up = time.monotonic() + patience_s
    try:
        output = _exchanged(process, request, give_up)
        if output is None:
            return None
        status = process.wait(max(0.0, give_up - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None
    finally:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(KILL_S)
        close_pipes(process)
    return Answered(status, *output)


def ask(
    command: Sequence[str],
    patience_s: float,
    words: Sequence[str] = (),
    *,
    request: bytes = b"",
    environ: Mapping[str, str] | None = None,
) -> Answered | None:
    """`start` and `finish`. Raises OSError when the child cannot be started."""
    return finish(start(command, words, environ), patience_s, request)


def close_pipes(process: Process) -> None:
    """Close this process's ends of the child's pipes."""
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def ended(status: int, complaints: bytes) -> str:
    """Describe an exit status with the last line of standard error: "crashed with SIGSEGV: ..."."""
    if status == -signal.SIGKILL:
        how = "was killed (SIGKILL), by somebody or because memory ran out"
    elif status >= 0:
        how = f"ended with status {status}"
    elif -status in set(signal.Signals):
        how = f"crashed with {signal.Signals(-status).name}"
    else:
        how = f"crashed with signal {-status}"
    last = last_line(complaints)
    return f"{how}: {last}" if last else how


def failed(complaints: bytes) -> str:
    """Describe a child that ended by itself without an answer: "failed: ...", the last line of standard error."""
    return f"failed: {last_line(complaints) or 'no reason given'}"


def last_line(complaints: bytes) -> str:
    """The last line of standard error, which names the reason; at most 300 characters."""
    return (complaints.decode(errors="replace").strip().splitlines() or [""])[-1].strip()[:_LAST_MAX]


def end_with(parent: int) -> None:
    """In the child: have the kernel end this process when the process `parent` ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was quicker
        sys.exit("the miner has ended")


def _exchanged(process: Process, request: bytes, give_up: float) -> tuple[bytes, bytes] | None:
    """The ends of the child's two outputs, once it has closed both; None if they are open at `give_up`."""
    assert process.stdin and process.stdout and process.stderr  # `start` asks for them
    output: dict[IO[bytes], bytes] = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as pipes:
        for pipe in output:
            pipes.register(pipe, selectors.EVENT_READ)
        pipes.register(process.stdin, selectors.EVENT_WRITE)
        while pipes.get_map():
            if (left_s := give_up - time.monotonic()) <= 0:
                return None
            for key, _ in pipes.select(left_s):
                if key.fileobj is process.stdin:
                    request = _written(process.stdin, request)
                    over = not request
                else:
                    pipe = process.stdout if key.fileobj is process.stdout else process.stderr
                    piece = os.read(key.fd, _PIECE)
                    output[pipe] = (output[pipe] + piece)[-OUTPUT_MAX:]
                    over = not piece
                if over:
                    pipes.unregister(key.fileobj)
                    if key.fileobj is process.stdin:
                        process.stdin.close()
    return output[process.stdout], output[process.stderr]


def _written(pipe: IO[bytes], request: bytes) -> bytes:
    """Write what the pipe takes without blocking; return the rest, which is empty for a child that does not read."""
    try:
        return request[os.write(pipe.fileno(), request[: select.PIPE_BUF]) :] if request else b""
    except BrokenPipeError:
        return b""
