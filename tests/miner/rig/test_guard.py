"""The miner's end of its guard: when it beats, and what it does about a guard that is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import LogCapture

from miner.rig import guard as guard_module
from miner.rig.guard import LATE_S, UNANSWERED, UNANSWERED_AT_FIRST, Guard

# Writes what it hears into a file of its own, named by its pid; answers each beat unless it is told to be mute.
PEER = """
import os, pathlib, socket, sys
folder, answers = pathlib.Path(sys.argv[3]), sys.argv[4] == "answers"
peer = socket.socket(fileno=0)
with (folder / str(os.getpid())).open("w", buffering=1) as file:
    while message := peer.recv(1024):
        file.write(message.decode() + "\\n")
        if answers and message[:1] in b".?":
            peer.send(b".")
"""


@dataclass
class Board:
    """Implements `Supervised`."""

    ago_s: float | None = None

    def unwatched_s(self) -> float | None:
        return self.ago_s


@pytest.fixture
def said() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


@contextmanager
def guarded(folder: Path, *, answers: bool = True, code: str = PEER) -> Iterator[tuple[Guard, Callable[..., None]]]:
    """A guard whose beats the test makes, on a clock of its own, which stands where `set_clock` puts it."""
    now = [0.0]
    guard = Guard([str(folder), "answers" if answers else "mute"], code, clock=lambda: now[0], beat_s=3600.0)
    try:
        yield guard, lambda seconds: now.__setitem__(0, seconds)
    finally:
        guard.close()


def heard(folder: Path) -> dict[str, list[str]]:
    """What each guard heard, by its pid."""
    return {path.name: path.read_text().splitlines() for path in folder.iterdir()}


def until(true: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 30.0
    while not (value := true()):
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.005)
    return value


def test_it_beats_only_while_the_supervisor_of_each_powered_device_reports(tmp_path: Path, said: LogCapture) -> None:
    first, second = Board(), Board(0.5)
    with guarded(tmp_path) as (guard, _):
        guard.on("asic:A")
        guard.on("asic:B")
        guard.watch("asic:A", first)
        guard.watch("asic:B", second)
        guard.beat()  # one board has no power yet, the other is looked after
        first.ago_s = LATE_S + 1
        guard.beat()
        guard.beat()
        first.ago_s, second.ago_s = 1.0, LATE_S
        guard.beat()
        expected = [".", "+asic:A", "+asic:B", ".", "?asic:A", "?asic:A", "."]
        until(lambda: [*heard(tmp_path).values()] == [expected])
    [entry] = until(lambda: said.entries)
    assert (entry["event"], entry["device"], entry["log_level"]) == ("supervisor_silent", "asic:A", "error")


def test_a_device_that_was_opened_anew_or_is_off_is_not_waited_for(tmp_path: Path) -> None:
    hung = Board(LATE_S + 100)
    with guarded(tmp_path) as (guard, _):
        for device in ("asic:A", "asic:B"):
            guard.on(device)
            guard.watch(device, hung)
        guard.watch("asic:A", Board())
        guard.off("asic:B")
        guard.beat()
        guard.on("asic:B")  # again, without being opened anew
        guard.beat()
        expected = [".", "+asic:A", "+asic:B", "-asic:B", ".", "+asic:B", "?asic:B"]
        until(lambda: [*heard(tmp_path).values()] == [expected])


def test_a_guard_that_somebody_ended_is_missed_and_another_one_is_told_all(tmp_path: Path, said: LogCapture) -> None:
    with guarded(tmp_path) as (guard, set_clock):
        guard.on("asic:A")
        guard.on("asic:B")
        guard.off("asic:A")
        [first] = until(lambda: heard(tmp_path))
        os.kill(int(first), signal.SIGKILL)
        until(lambda: (guard.beat(), said.entries)[1])
        set_clock(1.0)
        guard.beat()
        second = until(lambda: set(heard(tmp_path)) - {first}).pop()
        until(lambda: heard(tmp_path)[second][:2] == ["+asic:B", "."])
    assert [entry["event"] for entry in said.entries] == ["guard_lost"]
    assert "has ended (status -9)" in said.entries[0]["reason"]


def test_a_guard_that_was_stopped_is_missed_killed_and_replaced(tmp_path: Path, said: LogCapture) -> None:
    with guarded(tmp_path) as (guard, set_clock):
        [first] = until(lambda: heard(tmp_path))
        until(lambda: (guard.beat(), guard._process is not None and guard._process._patience == UNANSWERED)[1])
        os.kill(int(first), signal.SIGSTOP)
        for _ in range(2 * UNANSWERED):
            guard.beat()
        until(lambda: not Path("/proc", first).exists())
        set_clock(1.0)
        guard.beat()
        until(lambda: len(heard(tmp_path)) == 2)
    until(lambda: said.entries)
    assert "not answered" in said.entries[0]["reason"]


def test_a_guard_that_reads_nothing_never_holds_up_a_beat(tmp_path: Path) -> None:
    with guarded(tmp_path, code="import time; time.sleep(60)") as (guard, _):
        for _ in range(UNANSWERED_AT_FIRST):
            guard.beat()
        first = guard._process
        for number in range(5000):
            guard.on(f"asic:{number}")
        guard.beat()
        assert guard._process is not first, "its socket is full"


def test_guards_that_end_at_once_are_started_after_growing_pauses(tmp_path: Path, said: LogCapture) -> None:
    with guarded(tmp_path, code="pass") as (guard, set_clock):
        starts = []
        for second in range(20):
            set_clock(float(second))
            if guard._process is not None:
                guard._process._process.wait()
            before = guard._process
            guard.beat()
            if guard._process is not None and guard._process is not before:
                starts.append(second)
    assert starts == [1, 4, 9, 18]


def test_where_no_process_can_be_started_mining_goes_on_and_this_is_said(
    tmp_path: Path, said: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(guard_module.subprocess, "Popen", refused)
    with guarded(tmp_path) as (guard, _):
        guard.on("asic:A")
        guard.beat()
    until(lambda: said.entries)
    assert said.entries[0]["event"] == "guard_not_started"


def test_the_guard_is_given_this_process_as_a_pidfd(tmp_path: Path) -> None:
    code = "import sys; open(sys.argv[3] + '/pidfd', 'w').write(open(f'/proc/self/fdinfo/{sys.argv[2]}').read())"
    with guarded(tmp_path, code=code):
        told = until(lambda: (tmp_path / "pidfd").exists() and (tmp_path / "pidfd").read_text())
    assert f"Pid:\t{os.getpid()}" in told
    assert not [path for path in Path("/proc/self/fd").iterdir() if _is_pidfd(path)], "and keeps none itself"


def _is_pidfd(path: Path) -> bool:
    try:
        return "pidfd" in str(path.readlink())
    except OSError:
        return False
