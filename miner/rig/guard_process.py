"""The guard's own process: `python -m miner.rig.guard_process PID PIDFD FLAGS...`, with its miner on standard input.

A thread loads at the start what turning off needs, so that this is quick later and depends on no file that changes
meanwhile. What may hang (a device, a disk, a terminal) is done in a child process for each device, which is killed when
it takes too long.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from miner.printable import printable
from miner.rig.guard_watch import (
    MESSAGE_MAX,
    Answer,
    Effect,
    Ended,
    Event,
    GiveUp,
    Heard,
    Kill,
    Leave,
    Record,
    Recorded,
    Tick,
    Tried,
    TurnOff,
    Watch,
)

_LOOK_S = 0.5
_LOOK_AT_CHILDREN_S = 0.05
_CHILD_S = 30.0  # what one attempt may take


class Duties(Protocol):
    """What is done in child processes. Each may raise, hang or be killed."""

    def record(self, devices: Sequence[str], reason: str) -> None:
        """Say why, and remember it of each device."""
        ...

    def turn_off(self, device: str) -> bool:
        """Whether the device is off."""
        ...

    def give_up(self, device: str) -> None:
        """Say that it may be on."""
        ...


class Loading:
    """Implements `Duties` by those that `load` makes, in a thread of its own or else once more in the child process."""

    def __init__(self, load: Callable[[], Duties]) -> None:
        self._load = load
        self._loaded: Duties | None = None
        self._thread = threading.Thread(target=self._try, name="loading", daemon=True)
        self._thread.start()

    def ready(self) -> bool:
        """Whether the thread has ended: no process is forked beside it."""
        return not self._thread.is_alive()

    def record(self, devices: Sequence[str], reason: str) -> None:
        self._duties.record(devices, reason)

    def turn_off(self, device: str) -> bool:
        return self._duties.turn_off(device)

    def give_up(self, device: str) -> None:
        self._duties.give_up(device)

    @property
    def _duties(self) -> Duties:
        return self._loaded or self._load()

    def _try(self) -> None:
        try:
            self._loaded = self._load()
            gc.freeze()  # a child's garbage collection would copy all this, page by page
        except Exception as error:  # noqa: BLE001  whatever it is, it may have passed when it is needed
            _say(error)


class Miner:
    """The guarded process. A pidfd never means another one. Without one, its pid is used while it is our parent."""

    def __init__(self, pid: int, pidfd: int | None) -> None:
        self._pid, self.pidfd = pid, pidfd

    def kill(self) -> None:
        """Works on a stopped process, too."""
        if self.pidfd is not None:
            with suppress(OSError):  # it has ended just now, or a sandbox forbids this way
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
                return
        with suppress(OSError):
            if os.getppid() == self._pid:
                os.kill(self._pid, signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether it exists no more."""
        if self.pidfd is None:
            return os.getppid() != self._pid
        return bool(_readable([self.pidfd], 0.0))


@dataclass(slots=True)
class _Child:
    """A child process at one of the duties."""

    pid: int
    over: Callable[[bool], Event | None]  # the event of its end, from whether it succeeded
    until: float


@dataclass(frozen=True, slots=True)
class _Duty:
    """What a child process is to do, once one can be forked."""

    do: Callable[[], object]
    over: Callable[[bool], Event | None]


@dataclass(slots=True)
class Shell:
    """Carries out what `watch` decides. `ready`: whether the duties can be done yet; until then they wait."""

    peer: socket.socket
    miner: Miner
    duties: Duties
    watch: Watch
    now: Callable[[], float] = time.monotonic
    ready: Callable[[], bool] = lambda: True
    _waiting: list[_Duty] = field(default_factory=list)
    _children: list[_Child] = field(default_factory=list)
    _hung_up: bool = False  # the miner closed its end

    def __post_init__(self) -> None:
        self.peer.setblocking(False)

    def run(self) -> None:
        """Until there is nothing left to do."""
        while True:
            events = self._events()
            for event in events:
                for effect in self.watch.handle(event, self.now()):
                    if isinstance(effect, Leave):
                        self._begin()  # what is left is to be said, by a child that outlives this process
                        return
                    self._do(effect)

    def _events(self) -> list[Event]:
        watched = [] if self._hung_up else [self.peer.fileno()]
        if self.miner.pidfd is not None and not self._hung_up:
            watched.append(self.miner.pidfd)
        _readable(watched, _LOOK_AT_CHILDREN_S if self._children or self._waiting else _LOOK_S)
        self._begin()
        events = self._messages()
        if self.miner.has_ended():
            events = [*events, *self._messages()]  # what it said last
            self._hung_up = True
        return [*events, *([Ended()] if self._hung_up else []), *self._reaped(), Tick()]

    def _messages(self) -> list[Event]:
        events: list[Event] = []
        while not self._hung_up:
            try:
                message = self.peer.recv(MESSAGE_MAX)
            except BlockingIOError:
                break
            except OSError:
                message = b""
            self._hung_up = not message
            if message:
                events.append(Heard(message))
        return events

    def _do(self, effect: Effect) -> None:
        duties = self.duties
        match effect:
            case Answer():
                with suppress(OSError):  # a miner that does not read needs no answer
                    self.peer.send(b".")
            case Record(devices, reason):
                self._waiting.append(_Duty(lambda: duties.record(devices, reason), lambda _done: Recorded()))
            case Kill():
                self.miner.kill()
            case TurnOff(device):
                self._waiting.append(_Duty(partial(duties.turn_off, device), lambda done: Tried(device, done)))
            case GiveUp(device):
                self._waiting.append(_Duty(partial(duties.give_up, device), lambda _done: None))

    def _begin(self) -> None:
        """Fork a child for each duty that waits."""
        while self._waiting and self.ready():
            try:
                self._fork(self._waiting[0])
            except OSError:  # no memory for a process: at the next look there may be
                return
            del self._waiting[0]

    def _fork(self, duty: _Duty) -> None:
        pid = os.fork()
        if pid:
            self._children.append(_Child(pid, duty.over, self.now() + _CHILD_S))
            return
        status = 1
        try:
            status = 0 if duty.do() is not False else 1
        except Exception as error:  # noqa: BLE001  whatever it is, the next attempt must come
            _say(error)
        finally:
            os._exit(status)

    def _reaped(self) -> list[Event]:
        events: list[Event] = []
        for child in list(self._children):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if not pid and self.now() < child.until:
                continue
            if not pid:
                os.kill(child.pid, signal.SIGKILL)  # which it may survive for a while, in the kernel
            self._children.remove(child)
            event = child.over(bool(pid) and os.waitstatus_to_exitcode(status) == 0)
            if event is not None:
                events.append(event)
        return events


def _say(error: Exception) -> None:
    with suppress(OSError, ValueError):  # nobody is left to tell
        sys.stderr.write(f"the guard of the miner: {type(error).__name__}: {printable(str(error))}\n")
        sys.stderr.flush()


def _readable(descriptors: Sequence[int], timeout_s: float) -> list[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(timeout_s * 1000)]


def main(words: Sequence[str]) -> None:
    """Guard until the miner has ended and its devices are off."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # it ends with its miner, and not before
    pid, pidfd, *flags = words
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy comes with what is loaded, and is not used here

    def load() -> Duties:
        from miner.rig.guard_duties import MinerOff  # noqa: PLC0415  the watch begins before all this is imported

        return MinerOff(flags)

    duties = Loading(load)
    miner = Miner(int(pid), None if pidfd == "-" else int(pidfd))
    peer = socket.socket(fileno=sys.stdin.fileno())
    Shell(peer, miner, duties, Watch(time.monotonic()), ready=duties.ready).run()


if __name__ == "__main__":
    main(sys.argv[1:])
