"""The miner as its operator runs it: a process, watched from outside through its log and /proc (see proc(5)).

Two rates come out of a run. The one by the clock is what the operator gets, neighbours included. The one by the
program's own time counts processor seconds, whoever else wanted them, and adds what its hash threads waited for each
other and for the rest of the program; on a quiet machine both say the same. On a busy one the waits grow as well: who
is preempted while it holds the GIL keeps the others waiting. Neither rate is to be trusted then.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from native import features

_HASHING_S = 0.002  # of processor time: so much shows that a thread does not only wait for a kernel
_POLL_S = 0.02
_START_S = 60.0  # to compile, at worst, and to come to an end
_LOOK_S = 0.25
_NICE = 19  # the CPU backend's default
_KEPT = (features.VARIABLE, "OCL_", "POCL_", "LD_LIBRARY_PATH", "PATH")  # the same kernels, drivers and linkers

Process = subprocess.Popen[str]


class ProgramError(Exception):
    """The miner did not do what it was started for; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Mined:
    """What one run did."""

    hashes: int
    seconds: float  # of the clock, with something to hash
    processor_s: float  # of all threads, from the first hash to the end
    waited: float  # share of their time that hash threads waited for anything but a processor
    threads: int

    @property
    def by_clock_hps(self) -> float:
        return self.hashes / self.seconds

    @property
    def by_own_time_hps(self) -> float:
        """Of one processor."""
        return self.hashes / (self.processor_s + self.waited * self.threads * self.seconds)


@dataclass(frozen=True, slots=True)
class Worked:
    """What was done on one device; processor_s: of all processes that took part."""

    hashes: int
    seconds: float
    processor_s: float


@dataclass(frozen=True, slots=True)
class Started:
    """How one run began."""

    first_hash_s: float  # after the process was started
    peak_bytes: int  # resident


def mine(state: Path, seconds: float, threads: int, *, live: bool) -> Mined:
    """Mine made-up work for so long, with the kernel from the cache; `live`: with the live screen, on a terminal."""
    with tempfile.TemporaryDirectory() as folder, _output(live=live) as output:
        summary = Path(folder) / "summary.json"
        log_format = "text" if live else "json"
        options = ["--threads", str(threads), "--pool", "synthetic:", "--summary", str(summary)]
        with _miner(state, seconds, [*options, "--log-format", log_format], output) as process:
            first = _wait_for_hashing(process, threads)
            before_s = _processor_s(process.pid) - sum(first.ran_s.values())
            last = first
            for _ in _until(process, seconds):
                try:
                    last = _look(process.pid, list(first.ran_s))
                except (FileNotFoundError, ProcessLookupError):  # its threads have ended
                    break
            _log(process, until="finished")
            after_s = _processor_s(process.pid)  # even if it has ended: its clock is kept until it is waited for
        did = json.loads(summary.read_text())
    return Mined(did["hashes"], did["seconds"], after_s - before_s, last.waited_since(first), threads)


def mine_on(device: str, state: Path, seconds: float, options: Sequence[str] = (), **environ: str) -> Worked:
    """Mine made-up work on one device by its id. environ: settings that have no option."""
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary.json"
        words = [
            "--device",
            device,
            "--pool",
            "synthetic:",
            "--summary",
            str(summary),
            "--log-format",
            "json",
            *options,
        ]
        with _miner(state, seconds, words, subprocess.DEVNULL, environ) as process:
            too_long = threading.Timer(seconds + _START_S, process.kill)
            too_long.start()
            try:
                _log(process, until="device_ready")
                before_s = _processor_s(process.pid) + _childrens_s(process.pid)
                _log(process, until="finished")
                after_s = _processor_s(process.pid) + _childrens_s(process.pid)
            finally:
                too_long.cancel()
        did = json.loads(summary.read_text())
    return Worked(did["hashes"], did["seconds"], after_s - before_s)


def start(state: Path, seconds: float, threads: int) -> Started:
    """Mine the embedded chain for so long, as a new user does."""
    spawned, peak_bytes = time.time(), 0
    options = ["--threads", str(threads), "--log-format", "json"]
    with _miner(state, seconds, options, subprocess.DEVNULL) as process:
        for _ in _until(process, seconds):
            peak_bytes = _peak_bytes(process.pid) or peak_bytes
        events: list[dict[str, Any]] = [json.loads(line) for line in _log(process)]
    for event in events:
        if event["event"] == "mining_began":
            return Started(float(event["at"]) - spawned, peak_bytes)
    raise ProgramError("the miner did not say when it began")


@dataclass(frozen=True, slots=True)
class _Look:
    """Hash threads at one moment: seconds that each ran and that each was ready to run."""

    at: float
    ran_s: dict[int, float]
    ready_s: dict[int, float]

    def waited_since(self, before: _Look) -> float:
        """The share of their time that the threads neither ran nor wanted to."""
        if self.at <= before.at:
            raise ProgramError("the miner ran too shortly to be looked at twice")
        there = sum(self.ran_s[x] + self.ready_s[x] - before.ran_s[x] - before.ready_s[x] for x in before.ran_s)
        return max(0.0, 1 - there / (self.at - before.at) / len(before.ran_s))


@contextmanager
def _miner(
    state: Path, seconds: float, options: Sequence[str], output: int, environ: Mapping[str, str] | None = None
) -> Iterator[Process]:
    """Run the program with nothing of this user's configuration; it is over, and well, at the end."""
    command = [sys.executable, "-m", "miner.commands.cli", "--config", os.devnull, "--state-dir", str(state)]
    command += ["--seconds", str(seconds), *options]
    environment = {"HOME": str(state), "TERM": "xterm-256color", **(environ or {})}
    environment |= {name: value for name, value in os.environ.items() if name.startswith(_KEPT)}
    with subprocess.Popen(  # noqa: S603
        command, stdout=output, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
            last_words = _log(process)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ProgramError(f"the miner ended with {process.returncode}: {''.join(last_words)}")


def _log(process: Process, until: str | None = None) -> list[str]:
    """The rest of the log, or what there is up to a line with `until`; ProgramError where there is none."""
    lines = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if until is not None and until in line:
            return lines
    if until is not None:
        raise ProgramError(f"the miner ended too early: {''.join(lines)}")
    return lines


def _until(process: Process, seconds: float) -> Iterator[None]:
    """Look, look again, ... while it runs."""
    give_up = time.monotonic() + seconds + _START_S
    while not _ended(process):
        if time.monotonic() > give_up:
            raise ProgramError("the miner does not end by itself")
        yield
        time.sleep(_LOOK_S)


def _ended(process: Process) -> bool:
    """Whether it is over, without waiting for it."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait_for_hashing(process: Process, threads: int) -> _Look:
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up and not _ended(process):
        time.sleep(_POLL_S)
        try:
            ours = [x for x in _threads(process.pid) if os.getpriority(os.PRIO_PROCESS, x) == _NICE]
            look = _look(process.pid, ours)
        except (FileNotFoundError, ProcessLookupError):  # one that has just ended
            continue
        if sum(ran_s > _HASHING_S for ran_s in look.ran_s.values()) == threads == len(ours):
            return look
    raise ProgramError(f"the miner did not hash with {threads} threads: {''.join(_log(process, until='finished'))}")


def _threads(pid: int) -> list[int]:
    return [int(x.name) for x in Path(f"/proc/{pid}/task").iterdir()]


def _look(pid: int, threads: list[int]) -> _Look:
    texts = {x: Path(f"/proc/{pid}/task/{x}/schedstat").read_text().split() for x in threads}
    now = time.monotonic()
    ran_s = {x: int(text[0]) / 1e9 for x, text in texts.items()}
    return _Look(now, ran_s, {x: int(text[1]) / 1e9 for x, text in texts.items()})


def _processor_s(pid: int) -> float:
    """Of all threads that a process has or had: its clock, see clock_getcpuclockid(3), which Python does not offer."""
    return time.clock_gettime(~pid << 3 | 2)


def _childrens_s(pid: int) -> float:
    """Of a process' children: of those that have ended, see proc(5) on cutime and cstime, and of the others."""
    ended = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15]))
    living = [int(x) for file in Path(f"/proc/{pid}/task").glob("*/children") for x in file.read_text().split()]
    return ended / os.sysconf("SC_CLK_TCK") + sum(map(_processor_s, living))


def _peak_bytes(pid: int) -> int | None:
    """None when it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


@contextmanager
def _output(*, live: bool) -> Iterator[int]:
    """Where the program's output goes: nowhere, or to a terminal that takes it as fast as it comes."""
    if not live:
        yield subprocess.DEVNULL
        return
    ours, its = pty.openpty()
    reader = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reader.start()
    try:
        yield its
    finally:
        os.close(its)
        reader.join()
        os.close(ours)


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:  # how Linux says that nobody has the other side open any more
        return
