"""The miner's end of its guard, a small process that turns devices off when the miner no longer can.

    miner --socket--> guard:  "+asic:SERIAL" may have power, "-asic:SERIAL" is off, "." a beat, "?asic:SERIAL" no beat:
                              the supervisor of this device does not report;  closed: the miner has ended
    miner <--socket-- guard:  "." heard

A thread sends a beat once a second while the supervisor of each device with power reports. If the miner is stopped, or
a supervisor hangs, the beats stop and the guard acts (guard_watch.py). The thread never waits for the guard: a guard
that is gone or does not answer is replaced.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog

from backends.base import Supervised
from miner.rig.guard_watch import BEAT, LATE, MESSAGE_MAX, OFF, ON

log = structlog.get_logger(__name__)

BEAT_S = 1.0
LATE_S = 5.0  # a supervisor looks once a second; it counts as working for so long
UNANSWERED = 15  # beats in a row without an answer before the guard counts as hung
UNANSWERED_AT_FIRST = 120  # the same while the guard's program starts
PAUSE_LONGEST_S = 60.0  # before another guard is started; doubles from one second


class Guard:
    """`flags`: the miner's flags that the guard needs. It inherits environment and working folder. Thread-safe.

    code: Python code that the guard's process runs instead of `guard_process`, with the same arguments, for tests.
    """

    def __init__(
        self,
        flags: Sequence[str],
        code: str | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        beat_s: float = BEAT_S,
    ) -> None:
        self._flags, self._code = flags, code
        self._clock, self._beat_s = clock, beat_s
        self._on: dict[str, None] = {}
        self._supervised: dict[str, Supervised] = {}
        self._late: frozenset[str] = frozenset()  # at the last beat
        self._told: frozenset[str] = frozenset()  # devices whose silence was logged
        self._lock = threading.Lock()  # guards all of this; never held while something blocks
        self._closing = threading.Event()
        self._process: _Process | None = None
        self._start_at, self._pause_s = clock(), 1.0
        self._begin()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def on(self, device: str) -> None:
        """Tell the guard that this device may have power from now on."""
        with self._lock:
            self._on[device] = None
            self._send(ON + device)

    def off(self, device: str) -> None:
        """Tell the guard that this device is off, and stays off."""
        with self._lock:
            self._on.pop(device, None)
            self._send(OFF + device)

    def watch(self, device: str, supervised: Supervised) -> None:
        """Beat only while the supervisor of this device, which was just opened, reports."""
        with self._lock:
            self._supervised[device] = supervised

    def close(self) -> None:
        """End, without waiting for the guard. The guard turns off every device that is still on."""
        self._closing.set()
        self._thread.join(2 * BEAT_S)
        with self._lock:
            if self._process is not None:
                self._process.leave()

    def beat(self) -> None:
        """Send a beat if all supervisors report. Replace a guard that is lost."""
        with self._lock:
            if self._closing.is_set():
                return  # the guard may still be turning devices off
            now = self._clock()
            powered = {device: one for device, one in self._supervised.items() if device in self._on}
            late = frozenset(device for device, one in powered.items() if (one.unwatched_s() or 0.0) > LATE_S)
            twice, self._late = late & self._late, late  # once may only mean that this process was stopped
            news, self._told = twice - self._told, twice
            for message in [LATE + device for device in sorted(late)] or [BEAT]:
                self._send(message)
            lost = self._process.lost() if self._process is not None else None
            if self._process is not None and lost is not None:
                self._process.kill()
                self._process, self._start_at = None, now + self._pause_s
            if self._process is None and now >= self._start_at:
                self._pause_s = min(2 * self._pause_s, PAUSE_LONGEST_S)
                self._begin()
        for device in sorted(news):
            _say(log.error, "supervisor_silent", device=device, hint="the guard ends this miner soon")
        if lost is not None:
            _say(log.error, "guard_lost", reason=lost, hint="another one is started")

    def _run(self) -> None:
        while not self._closing.wait(self._beat_s):
            self.beat()

    def _begin(self) -> None:
        try:
            self._process = _Process(self._flags, self._code)
        except OSError as error:
            self._start_at = self._clock() + self._pause_s
            _say(log.error, "guard_not_started", reason=error.strerror, again_in_s=self._pause_s)
            return
        for device in self._on:
            self._send(ON + device)
        self._send(BEAT)

    def _send(self, message: str) -> None:
        if self._process is not None:
            self._process.send(message)


class _Process:
    """One guard, from its start to its end."""

    def __init__(self, flags: Sequence[str], code: str | None) -> None:
        self._unanswered = 0
        self._patience = UNANSWERED_AT_FIRST
        self._broken: str | None = None
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        pidfd = _pidfd()
        program = ["-m", "miner.rig.guard_process"] if code is None else ["-c", code]
        words = [sys.executable, *program, str(os.getpid()), "-" if pidfd is None else str(pidfd), *flags]
        try:
            # The guard gets a session of its own: a signal to the miner's terminal or process group must not end it.
            self._process = subprocess.Popen(  # noqa: S603
                words, stdin=theirs.fileno(), pass_fds=() if pidfd is None else (pidfd,), start_new_session=True
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            if pidfd is not None:
                os.close(pidfd)
        self._peer = ours

    def send(self, message: str) -> None:
        """Never waits."""
        try:
            self._peer.send(message.encode(errors="replace")[:MESSAGE_MAX])
        except BlockingIOError:
            self._broken = self._broken or "it takes no messages"
        except OSError as error:
            self._broken = self._broken or f"it is gone ({error.strerror})"

    def lost(self) -> str | None:
        """Why the guard is lost; None while it answers. Call it once after each beat."""
        if self._process.poll() is not None:
            return f"it has ended (status {self._process.returncode})"
        self._unanswered += 1
        with suppress(OSError):  # no answer yet, or never again
            while self._peer.recv(16):
                self._unanswered, self._patience = 0, UNANSWERED
        if self._unanswered > self._patience:
            return f"it has not answered {self._unanswered} times in a row"
        return self._broken

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._peer.close()
        threading.Thread(target=self._process.wait, name="guard's end", daemon=True).start()

    def leave(self) -> None:
        """Let the guard finish its work alone."""
        self._peer.close()
        self._process.returncode = 0  # so that subprocess does not warn about a child that still runs


def _pidfd() -> int | None:
    """A pidfd of this process, which never refers to another one; None if the kernel has none."""
    try:
        return os.pidfd_open(os.getpid())
    except (AttributeError, OSError) as error:  # an old kernel, a sandbox
        _say(log.warning, "guard_without_pidfd", reason=str(error), hint="the guard knows this miner by its parentage")
        return None


def _say(level: Callable[..., Any], event: str, **values: Any) -> None:
    """Log from a thread that nobody waits for: a terminal that blocks must not block the beat."""
    threading.Thread(target=level, args=(event,), kwargs=values, name="guard's word", daemon=True).start()
