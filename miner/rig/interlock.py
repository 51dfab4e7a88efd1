"""The interlock of `[safety]`: a file that must say `1` or `closed`, or no device has power.

    reader thread   reads the file every `READ_S`; a file system that hangs hangs this thread and nothing else
    judge thread    holds all devices while the contact is open, and takes back the hold once it is closed

    OPEN --- closed in every reading for `SETTLED_S`, longer after each bounce ---> CLOSED
    CLOSED --- one other reading, or none for `SILENT_S` ---> OPEN

The file may be the value of an input contact in sysfs, as `/sys/class/gpio/gpio17/value`, or one that a program writes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol

import structlog

from miner.printable import printable

log = structlog.get_logger(__name__)

HOLD = "interlock"  # the name of its hold
READ_S = 0.2
SETTLED_S = 0.5  # a contact that bounces must not start devices
SETTLED_LONGEST_S = 30.0
STEADY_S = 60.0  # a contact that opens sooner after it has closed has bounced
AGAIN_S = 10.0  # between two lines that only give another reason for an open contact
SILENT_S = 2.0  # a read that takes longer counts as open
UNREAD = "it was not read yet"
_CLOSED = (b"1", b"closed")
_SIZE_MAX = 64  # bytes
_SHOWN_MAX = 20  # characters of what else the file says


@dataclass(frozen=True, slots=True)
class Reading:
    """What the file said. `why_open`: None for a closed contact, else a sentence for the operator."""

    why_open: str | None
    at: float  # seconds on the monotonic clock


@dataclass(frozen=True, slots=True)
class Opened:
    """Effect: keep all devices off."""

    why: str


@dataclass(frozen=True, slots=True)
class Closed:
    """Effect: devices may run."""


class Contact:
    """The state machine. It begins open.

    Each bounce doubles the time for which the contact must then stay closed, so that devices are not switched all day.
    """

    def __init__(self, now: float) -> None:
        self.why_open: str | None = UNREAD
        self._began = now
        self._closed_since: float | None = None
        self._closed_at: float | None = None  # when devices were last allowed to run
        self._settled_s = SETTLED_S

    def handle(self, reading: Reading | None, now: float) -> list[Opened | Closed]:
        """What changes with the last finished reading; None before the first."""
        why = self._why(reading, now)
        if why is not None:
            self._closed_since = None
            if self.why_open is None:
                self._opened(now)
            changed, self.why_open = why != self.why_open, why
            return [Opened(why)] if changed else []
        if self._closed_since is None:
            self._closed_since = now
        if self.why_open is None or now - self._closed_since < self._settled_s:
            return []
        self.why_open, self._closed_at = None, now
        return [Closed()]

    def _opened(self, now: float) -> None:
        bounced = self._closed_at is not None and now - self._closed_at < STEADY_S
        self._settled_s = min(2 * self._settled_s, SETTLED_LONGEST_S) if bounced else SETTLED_S

    def _why(self, reading: Reading | None, now: float) -> str | None:
        if now - (self._began if reading is None else reading.at) > SILENT_S:
            return f"it could not be read for {SILENT_S:g} s"
        return UNREAD if reading is None else reading.why_open


def why_open(path: Path) -> str | None:
    """Read the file once: None for a closed contact, else why it counts as open. A file system may block it."""
    try:
        # Without O_NONBLOCK a FIFO would wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, _SIZE_MAX + 1)
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error.strerror if isinstance(error, OSError) else error}"
    if len(content) > _SIZE_MAX:
        return f"it is longer than {_SIZE_MAX} bytes"
    if content.strip() in _CLOSED:
        return None
    said = content[:_SHOWN_MAX].decode(errors="replace").strip()
    return f"it says '{printable(said)}'" if said else "it is empty"


def why_open_within(path: Path, seconds: float, read: Callable[[Path], str | None] = why_open) -> str | None:
    """As `why_open`, for a command that looks once: a file system that takes longer than `seconds` counts as open."""
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(read(path)), name="interlock", daemon=True)
    thread.start()
    thread.join(seconds)
    return answers[0] if answers else f"it could not be read for {seconds:g} s"


class Held(Protocol):
    """What the interlock acts on: the engine."""

    def hold(self, name: str, text: str) -> None: ...

    def release(self, name: str) -> None: ...


class Interlock:
    """Holds `devices` while the contact is open, from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        devices: Held,
        *,
        read: Callable[[Path], str | None] = why_open,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._devices = devices
        self._read = read
        self._clock = clock
        self._contact = Contact(clock())
        self._last: Reading | None = None
        self._untold: SimpleQueue[Opened | Closed] = SimpleQueue()
        self._told_open_at: float | None = None  # when the log last gave a reason; None: it calls the contact closed
        self._other_reason: str | None = None  # that waits for its line
        self._ended = threading.Event()

    def start(self) -> None:
        """Hold all devices, and begin to read. Call it before any device is started."""
        self._apply(Opened(UNREAD))
        threading.Thread(target=self._keep_reading, name="interlock", daemon=True).start()
        threading.Thread(target=self._keep_judging, name="interlock judge", daemon=True).start()

    def close(self) -> None:
        """Stop reading. The hold stays as it is."""
        self._ended.set()

    def _keep_reading(self) -> None:
        while not self._ended.is_set():
            why = self._read(self._path)
            self._last = Reading(why, self._clock())
            self._ended.wait(READ_S)

    def _keep_judging(self) -> None:
        while not self._ended.wait(READ_S):
            self.judge()

    def judge(self) -> None:
        """Look at the last reading once, and act on it."""
        for effect in self._contact.handle(self._last, self._clock()):
            self._apply(effect)
            self._untold.put(effect)

    def tell(self) -> None:
        """Log what has changed since the last call. The judge does not: a terminal that is held up would hold it up.

        A contact whose file says something else with every reading is told of every `AGAIN_S`.
        """
        while not self._untold.empty():
            match self._untold.get():
                case Opened(why):
                    self._other_reason = why
                    if self._told_open_at is None:
                        self._tell_open(why)
                case Closed():
                    self._told_open_at = self._other_reason = None
                    log.info("interlock_closed", path=str(self._path), text="devices may run")
        other, told_at = self._other_reason, self._told_open_at
        if other is not None and told_at is not None and self._clock() - told_at >= AGAIN_S:
            self._tell_open(other)

    def _tell_open(self, why: str) -> None:
        self._told_open_at, self._other_reason = self._clock(), None
        log.warning("interlock_open", path=str(self._path), reason=why, text="all devices are kept off")

    def _apply(self, effect: Opened | Closed) -> None:
        match effect:
            case Opened(why):
                self._devices.hold(HOLD, f"the interlock {self._path} is open: {why}")
            case Closed():
                self._devices.release(HOLD)
