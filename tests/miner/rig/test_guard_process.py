"""The guard as a process, with a miner that is stopped or killed: what it does then, and in which order."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from miner.rig.guard_process import Duties, Loading, Miner, Shell
from miner.rig.guard_watch import Event, GiveUp, Heard, Record, Recorded, Tick, Tried, TurnOff, Watch

# Threads of the test's runner are no matter to a child that ends by itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

MINER = """
import sys, time
from miner.rig import guard
if sys.argv[3] == "-":
    guard._pidfd = lambda: None
one = guard.Guard([sys.argv[2], sys.argv[3]], sys.argv[1], beat_s=0.05)
one.on("asic:A"); one.on("asic:B"); one.on("asic:C"); one.off("asic:C")
print("mining", flush=True)
time.sleep(60)
"""
GUARD = """
import os, pathlib, socket, sys, time
from miner.rig.guard_process import Miner, Shell
from miner.rig.guard_watch import Watch
pid, pidfd, told = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
def tell(line):
    with told.open("a") as file:
        file.write(line + "\\n")
class Duties:
    def record(self, devices, reason):
        tell("recorded " + " ".join(devices))
    def turn_off(self, device):
        if device == "asic:B" and "asic:B stays on" not in told.read_text():
            tell("asic:B stays on")
            raise RuntimeError("it does not go off")
        tell("off " + device)
        return True
    def give_up(self, device):
        tell("gave up " + device)
tell("pidfd" if pidfd != "-" else "no pidfd")
miner = Miner(pid, None if pidfd == "-" else int(pidfd))
Shell(socket.socket(fileno=0), miner, Duties(), Watch(time.monotonic(), silence_s=1.0)).run()
tell("left")
"""

IDLE = """
import sys
from miner.rig import guard_process
class Nothing:
    def __init__(self, load): ...
    def ready(self): return True
guard_process.Loading = Nothing
guard_process.main(sys.argv[1:])
"""


@contextmanager
def miner(told: Path, pidfd: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that beats to its guard, and whose devices A and B are on."""
    command = [sys.executable, "-c", MINER, GUARD, str(told), pidfd]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mining\n"
            until(lambda: told.exists() and told.read_text())
            yield process
        finally:
            process.kill()


def until(true: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30.0
    while not true():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.01)


@pytest.mark.parametrize("pidfd", ["pidfd", "-"])
def test_a_stopped_miner_is_recorded_killed_and_its_devices_are_turned_off_each_until_it_is(
    tmp_path: Path, pidfd: str
) -> None:
    told = tmp_path / "told"
    with miner(told, pidfd) as process:
        os.kill(process.pid, signal.SIGSTOP)
        assert process.wait(30.0) == -signal.SIGKILL
        until(lambda: "left" in told.read_text())
    first, *rest = told.read_text().splitlines()
    assert first == ("pidfd" if pidfd == "pidfd" else "no pidfd")
    assert rest[0] == "recorded asic:A asic:B"
    assert sorted(rest[1:-1]) == ["asic:B stays on", "off asic:A", "off asic:B"]


def test_a_killed_miner_has_its_devices_turned_off_and_nothing_recorded(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with miner(told, "pidfd") as process:
        process.kill()
        until(lambda: "left" in told.read_text())
    assert sorted(told.read_text().splitlines()) == ["asic:B stays on", "left", "off asic:A", "off asic:B", "pidfd"]


class Deeds:
    """Implements `Duties`, which a child process does: the test sees nothing but the outcome."""

    def record(self, devices: Sequence[str], reason: str) -> None:
        raise OSError("a full disk")

    def turn_off(self, device: str) -> bool:
        return device == "asic:A"

    def give_up(self, device: str) -> None: ...


def shell(duties: Duties, watch: Watch, *, ready: Callable[[], bool] = lambda: True) -> tuple[Shell, socket.socket]:
    """A guard of this very process, which nobody kills."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Shell(theirs, Miner(os.getppid(), None), duties, watch, ready=ready), ours


def test_what_fails_in_a_child_is_an_outcome_like_others(capfd: pytest.CaptureFixture[str]) -> None:
    guard, miner = shell(Deeds(), Watch(0.0))
    with miner, guard.peer:
        for effect in (Record(("asic:A",), "hung"), TurnOff("asic:A"), TurnOff("asic:B"), GiveUp("asic:B")):
            guard._do(effect)
        events: list[Event] = []
        until(lambda: (events.extend(guard._events()), guard._waiting or guard._children)[1] == [])
    outcomes = [event for event in events if not isinstance(event, Tick)]
    assert sorted(map(repr, outcomes)) == sorted(
        map(repr, [Recorded(), Tried("asic:A", is_off=True), Tried("asic:B", is_off=False)])
    )
    assert "a full disk" in capfd.readouterr().err


def test_a_child_that_hangs_is_killed_and_the_attempt_has_failed() -> None:
    class Hung(Deeds):
        def turn_off(self, device: str) -> bool:
            time.sleep(60.0)
            return True

    now = [0.0]
    guard, miner = shell(Hung(), Watch(0.0))
    guard.now = lambda: now[0]
    with miner, guard.peer:
        guard._do(TurnOff("asic:A"))
        assert guard._events() == [Tick()]
        [child] = guard._children
        now[0] = 31.0
        assert guard._events() == [Tried("asic:A", is_off=False), Tick()]
        assert os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]) == -signal.SIGKILL


def test_duties_wait_while_what_they_need_is_loaded_and_the_watch_does_not() -> None:
    loaded = threading.Event()

    def load() -> Duties:
        assert loaded.wait(30.0)
        return Deeds()

    duties = Loading(load)
    guard, miner = shell(duties, Watch(0.0), ready=duties.ready)
    with miner, guard.peer:
        guard._do(TurnOff("asic:A"))
        miner.send(b".")
        assert guard._events() == [Heard(b"."), Tick()]
        loaded.set()
        until(lambda: Tried("asic:A", is_off=True) in guard._events())


def test_what_could_not_be_loaded_is_loaded_when_it_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    loads: list[int] = []

    def load() -> Duties:
        loads.append(1)
        if len(loads) == 1:
            raise ValueError("half a file")
        return Deeds()

    duties = Loading(load)
    until(duties.ready)
    assert duties.turn_off("asic:A")
    assert "half a file" in capsys.readouterr().err


def test_the_signals_that_end_a_miner_do_not_end_its_guard() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(30.0)

    def answers() -> bool:
        ours.send(b".")
        return ours.recv(16) == b"."

    with ours, subprocess.Popen([sys.executable, "-c", IDLE, str(os.getpid()), "-"], stdin=theirs) as guard:
        theirs.close()
        assert answers()
        for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"):
            guard.send_signal(signal.Signals[name])
            assert answers(), name
        ours.close()
        assert guard.wait(30.0) == 0
