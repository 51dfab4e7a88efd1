"""Signals: which ones there are for the miner, and what each means to a run.

    kernel --> handler (a byte into a socket) --> event loop --> Answers.handle --> what the run must do

A signal that would end the process by default ends it only where the fault is the program's own (SIGSEGV and the like)
or where nobody can catch it (SIGKILL). All others are answered or ignored: what was found is handed in first.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from signal import Signals as Number
from types import FrameType
from typing import Self

from miner.ui.terminal import Terminal

ENDING = (Number.SIGINT, Number.SIGTERM, Number.SIGQUIT)  # the first finishes, the second leaves at once
WARNING = (Number.SIGXCPU, Number.SIGPWR)  # the system is about to end the process; they may come many times
UNWANTED = (Number.SIGUSR2, Number.SIGALRM, Number.SIGVTALRM, Number.SIGPROF, Number.SIGIO, Number.SIGSTKFLT)
# A write from a background job must not stop the process while devices are powered ("stty tostop").
DEAF = (Number.SIGTTIN, Number.SIGTTOU, *(n for n in range(signal.SIGRTMIN, signal.SIGRTMAX + 1)))
HANGS_S = 2  # seconds for an event loop that was asked twice to leave


@dataclass(frozen=True, slots=True)
class End:
    """Effect: come to rest and hand in."""

    why: str
    lost_terminal: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Effect: end the process at once."""

    why: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Effect: read the pools again."""


@dataclass(frozen=True, slots=True)
class Status:
    """Effect: log where the run stands."""


@dataclass(frozen=True, slots=True)
class Suspend:
    """Effect: put the devices to rest, then stop the process."""


@dataclass(frozen=True, slots=True)
class GoOn:
    """Effect: the process shall not be stopped, if it is about to be."""


@dataclass(frozen=True, slots=True)
class Ignore:
    """Effect: log that this signal means nothing here."""

    why: str


Effect = End | Leave | Reload | Status | Suspend | GoOn | Ignore


class Answers:
    """The state machine: what a signal means depends on those before it, and on the terminal."""

    def __init__(self) -> None:
        self._finishing = False
        self._asked = False  # by a person: a second time means at once

    def handle(self, number: int, *, lost_terminal: bool = False) -> list[Effect]:
        """What to do. `lost_terminal`: whether the controlling terminal is gone."""
        name = _name(number)
        if number in ENDING:
            again, self._asked = self._asked, True
            return [Leave(name)] if again else self._finish(End(name))
        if number in WARNING:
            return self._finish(End(name))
        match number:
            case Number.SIGHUP if lost_terminal:
                return self._finish(End("the terminal is gone", lost_terminal=True))
            case Number.SIGHUP:
                return [] if self._finishing else [Reload()]
            case Number.SIGUSR1:
                return [Status()]
            case Number.SIGTSTP:
                return [Ignore(f"{name}: the run is finishing")] if self._finishing else [Suspend()]
            case Number.SIGCONT:
                return [GoOn()]
            case _:
                return [Ignore(name)]

    def _finish(self, end: End) -> list[Effect]:
        if self._finishing:
            return []
        self._finishing = True
        return [end]


def _name(number: int) -> str:
    try:
        return Number(number).name
    except ValueError:
        return f"signal {number}"


class Signals:
    """Takes the process's signals from construction to `close`, and hands them to the event loop.

    Until `listen`, the signals that end a process still do: there is nothing to hand in yet. What was ignored when the
    process was started, as SIGHUP is under nohup, stays ignored; SIGINT and SIGTERM are heard even then, since shells
    ignore SIGINT for every background job of a script. Create and close it on the main thread.
    """

    def __init__(self, terminal: Terminal | None = None) -> None:
        self._terminal = terminal or Terminal()
        self._before: dict[int, object] = {Number.SIGINT: signal.getsignal(Number.SIGINT)}  # asyncio changes that
        self._interrupts = 0
        self._reading, self._writing = socket.socketpair()
        for end in (self._reading, self._writing):
            end.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for number in DEAF:
            self._take(number, signal.SIG_IGN)
        for number in (Number.SIGUSR1, *UNWANTED):
            self._take(number, self._heard)
        self._take(Number.SIGHUP, self._heard_early)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lost_terminal(self) -> bool:
        """Whether the terminal is gone, and that matters: under nohup it does not."""
        return signal.getsignal(Number.SIGHUP) is not signal.SIG_IGN and self._terminal.lost

    def listen(self, answer: Callable[[int], None]) -> None:
        """From now on call `answer` on the running loop for every signal, also for those that came before."""
        loop = asyncio.get_running_loop()

        def readable() -> None:
            with suppress(BlockingIOError):
                for number in self._reading.recv(4096):
                    answer(number)

        for number in (Number.SIGHUP, Number.SIGQUIT, Number.SIGTSTP, Number.SIGCONT, *WARNING):
            self._take(number, self._heard)
        for number in (Number.SIGINT, Number.SIGTERM):
            self._take(number, self._heard, though_ignored=True)
        loop.add_reader(self._reading.fileno(), readable)

    def stop_listening(self) -> None:
        """The loop is about to end: signals are taken, but nobody answers."""
        asyncio.get_running_loop().remove_reader(self._reading.fileno())

    def close(self) -> None:
        """Put everything back as it was. Idempotent."""
        if self._reading.fileno() < 0:
            return
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]  # what it answered itself
        self._before.clear()
        signal.set_wakeup_fd(self._wakeup_before)
        self._reading.close()
        self._writing.close()

    def _take(self, number: int, handler: object, *, though_ignored: bool = False) -> None:
        before = signal.getsignal(number)
        if before is None or (before is signal.SIG_IGN and number not in self._before and not though_ignored):
            return
        self._before.setdefault(number, before)
        signal.signal(number, handler)  # type: ignore[arg-type]  # one of ours

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        """In the middle of whatever the main thread does: only what is safe there. The byte was written already."""
        if number not in ENDING:
            return
        self._interrupts += 1
        if self._interrupts > 1:  # the kernel ends a process whose loop does not come to leave by itself
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(HANGS_S)

    def _heard_early(self, number: int, _frame: FrameType | None) -> None:
        """A hang-up while the program starts: nobody is there to see it run, and nothing is to be handed in."""
        if self._terminal.lost:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
