"""What is remembered of a board over restarts: when it was turned off for safety, and whether a person must look at it.

One file for each board, in the state folder, named by its serial number; without a folder it is kept for this run.
A file that cannot be understood latches its board: on any doubt it is off. So does a file that a newer version wrote.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from backends.base import BackendError, Rest
from backends.kept import replace_whole

_FOLDER = "asic"
_KEPT_TRIPS = 32
_SIZE_MAX = 1 << 16
_FORMAT = 2  # of the file; 1, which names no format, has no `resting`
_REASON_MAX = 500  # characters


@dataclass(frozen=True, slots=True)
class Record:
    """`trips`: Unix times, oldest first. `latched`: why it stays off; None: it may start.

    `resting`: why it was turned off last, from then until it may start again; None: it does not rest, or the record is
    older than this field.
    """

    trips: tuple[float, ...] = ()
    latched: str | None = None
    resting: str | None = None


class Latches:
    """Thread-safe: what one board's supervisor writes nobody else does, but a person who removes it."""

    def __init__(
        self,
        state_dir: Path | None,
        wall: Callable[[], float] = time.time,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self._folder = state_dir / _FOLDER if state_dir else None
        self._wall = wall
        self._log = log
        self._unkept: dict[str, Record] = {}

    def record(self, serial: str) -> Record:
        """What is known of this board."""
        if serial in self._unkept or self._folder is None:
            return self._unkept.get(serial, Record())
        path = self._path(self._folder, serial)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                return _parsed(file.read(_SIZE_MAX))
        except FileNotFoundError:
            return Record()
        except (OSError, ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
            return Record(latched=f"{path} cannot be read ({error})")

    def ages_s(self, serial: str) -> list[float]:
        """How long ago it was turned off for safety, oldest first; a clock set back makes none younger than now."""
        now = self._wall()
        return [max(now - at, 0.0) for at in self.record(serial).trips]

    def rest(self, serial: str, rest_s: float) -> Rest | None:
        """The rest that this board takes after its last cut-off, `rest_s` seconds at least; None: it takes none."""
        record, now = self.record(serial), self._wall()
        if record.latched is not None or not record.trips:
            return None
        since = min(record.trips[-1], now)  # a clock set back makes no cut-off one of the future
        if record.resting is None and now >= since + rest_s:
            return None
        return Rest(record.resting or "the record does not say why", since, since + rest_s)

    def trip(self, serial: str, reason: str | None = None) -> None:
        """The board was turned off for safety, and rests from now on."""
        record = self.record(serial)
        resting = None if reason is None else reason[:_REASON_MAX]
        self._keep(serial, replace(record, trips=(*record.trips, self._wall())[-_KEPT_TRIPS:], resting=resting))

    def release(self, serial: str) -> None:
        """The board has rested."""
        record = self.record(serial)
        if record.resting is not None:
            self._keep(serial, replace(record, resting=None))

    def latch(self, serial: str, reason: str) -> None:
        """Keep it off from now on."""
        self._keep(serial, replace(self.record(serial), latched=reason))

    def unlatch(self, serial: str) -> bool:
        """Forget all of a latched board; whether it was latched. Raises BackendError when its file cannot be removed.

        A board that is not latched keeps its record: its cut-offs still count.
        """
        if self.record(serial).latched is None:
            return False
        self._unkept.pop(serial, None)
        if self._folder is not None:
            path = self._path(self._folder, serial)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise BackendError(f"{path} cannot be removed: {error.strerror}") from error
        return True

    def _keep(self, serial: str, record: Record) -> None:
        """On disk; where that fails, for as long as this runs."""
        if self._folder is None:
            self._unkept[serial] = record
            return
        path = self._path(self._folder, serial)
        content = json.dumps({"format": _FORMAT, "serial": serial, **asdict(record)})
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            replace_whole(path, content.encode(), durable=True)
        except OSError as error:
            self._unkept[serial] = record
            self._log("asic_record_not_kept", serial=serial, path=str(path), reason=error.strerror)
        else:
            self._unkept.pop(serial, None)

    @staticmethod
    def _path(folder: Path, serial: str) -> Path:
        # A serial number is the device's own text: two that read alike without their odd characters share their fate.
        return folder / (re.sub(r"[^0-9A-Za-z._-]", "_", serial)[:100] + ".json")


def _without_waiting(name: str, flags: int) -> int:
    """Open a FIFO without a writer at once: it is empty, and so is no record. A plain open would block for ever."""
    return os.open(name, flags | os.O_NONBLOCK)


def _parsed(raw: bytes) -> Record:
    content = json.loads(raw)
    trips, latched, resting = content["trips"], content["latched"], content.get("resting")
    if content.get("format", 1) not in (1, _FORMAT):
        raise ValueError("a newer version of the miner wrote it")
    if not isinstance(trips, list) or not isinstance(latched, str | None) or not isinstance(resting, str | None):
        raise TypeError("not what was written there")
    times = tuple(float(at) for at in trips)
    if not all(map(math.isfinite, times)):
        raise ValueError("no times")
    return Record(times, latched, None if resting is None else resting[:_REASON_MAX])
