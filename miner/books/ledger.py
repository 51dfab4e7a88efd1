"""The ledger: what each source was given and what it said of it, day by day, for those who pay for hashes.

A folder with a file for each UTC day, `2026-11-22.json`, replaced as a whole:

    {"day": "2026-11-22", "sources": {"stratum+tcp://pool.example:3333": {
        "since": Unix time of the first entry, "until": of the last,
        "hashes": done on its leases - the expected work, whatever luck made of it,
        "submitted": shares, "accepted": shares, "rejected": {reason: shares},
        "difficulty": the sum over accepted shares of what each counts for, "blocks": accepted}}}

submitted - accepted - rejected were under way when they were last heard of. Counts of shares are on disk two seconds
after they changed, hashes a minute; so much a kill -9 or a power cut costs. The next start goes on where the files end.
"""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from miner.books import files
from miner.books.scribe import Do, at_once
from miner.chain.target import DIFFICULTY_ONE
from miner.telemetry.snapshot import SourceView

log = structlog.get_logger(__name__)

SHARES_S = 1.0  # between two writes
HASHES_S = 60.0  # where nothing but hashes changed
HASHES_PER_DIFFICULTY = (1 << 256) / DIFFICULTY_ONE
_NAME = re.compile(r"\d{4}-\d\d-\d\d\.json")
_MAX_BYTES = 1 << 22  # of one day


class LedgerError(Exception):
    """The ledger cannot be read or kept; the message is for the operator."""


@dataclass(slots=True)
class Entry:
    """One source on one day."""

    since: float  # Unix time
    until: float
    hashes: int = 0
    submitted: int = 0
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    difficulty: float = 0.0
    blocks: int = 0

    @property
    def expected_difficulty(self) -> float:
        """What `difficulty` is on average for so many hashes."""
        return self.hashes / HASHES_PER_DIFFICULTY

    def add(self, other: Entry) -> None:
        """Add another entry of the same source."""
        self.since, self.until = min(self.since, other.since), max(self.until, other.until)
        self.hashes += other.hashes
        self.submitted += other.submitted
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.difficulty += other.difficulty
        self.blocks += other.blocks

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "since": self.since,
            "until": self.until,
            "hashes": self.hashes,
            "submitted": self.submitted,
            "accepted": self.accepted,
            "rejected": dict(sorted(self.rejected.items())),
            "difficulty": self.difficulty,
            "blocks": self.blocks,
        }


@dataclass(slots=True)
class Day:
    """All sources on one day."""

    date: str  # YYYY-MM-DD, UTC
    entries: dict[str, Entry] = field(default_factory=dict)  # by source

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"day": self.date, "sources": {name: entry.plain() for name, entry in self.entries.items()}}


class Ledger:
    """Books what snapshots say into the files of a folder. One writer: the folder is the locked state folder's.

    What is booked is what changed since the last look, so that a look left out loses nothing. A page is turned only
    when the old one is on disk and the new one could be read; until then nothing is looked at.
    """

    def __init__(self, folder: Path, wall: float, do: Do = at_once) -> None:
        """`do`: how files are written. Raises LedgerError where nothing can be kept."""
        self._folder = folder
        self._do = do
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"the ledger cannot be kept in {folder}: {error.strerror}") from error
        self._day = self._begin(_date(wall))
        self._booked: dict[str, SourceView] = {}  # as it was when last looked at
        self._passed_over: tuple[SourceView, ...] = ()  # the last look, where it was left out
        self._written_at = wall
        self._shares_changed = self._changed = False
        self._writing = False
        self._ailing = False

    def book(self, sources: Iterable[SourceView], wall: float) -> None:
        """Add what has changed since the last look, and write it when it is due."""
        if self._day.date != _date(wall) and not self._turn(wall):
            self._passed_over = tuple(sources)
            return
        self._passed_over = ()
        for source in sources:
            self._book(source, wall)
        since = wall - self._written_at
        if since < 0 or (self._changed and since >= (SHARES_S if self._shares_changed else HASHES_S)):
            self.write(wall)

    def write(self, wall: float) -> None:
        """Put the day on disk; a failure is logged once and tried again, since mining matters more."""
        if self._changed and not self._writing:
            self._hand_over(wall)

    def close(self, wall: float) -> None:
        """The last entry, on whatever page is open."""
        for source in self._passed_over:
            self._book(source, wall)
        if self._changed:
            self._hand_over(wall)  # behind what may still be under way

    def _hand_over(self, wall: float) -> None:
        path = self._folder / f"{self._day.date}.json"
        data = json.dumps(self._day.plain(), indent=1, allow_nan=False).encode() + b"\n"
        self._written_at = wall
        self._shares_changed = self._changed = False
        self._writing = True
        if not self._do(lambda: self._put(path, data)):
            self._writing = False
            self._shares_changed = self._changed = True

    def _put(self, path: Path, data: bytes) -> None:
        """In the thread that writes."""
        try:
            files.replace_durably(path, data, 0o600)
        except OSError as error:
            self._complain("ledger_not_written", file=str(path), text=error.strerror)
            self._shares_changed = self._changed = True
        else:
            self._ailing = False
        self._writing = False

    def _complain(self, event: str, **details: str | None) -> None:
        if not self._ailing:
            log.error(event, **details)
        self._ailing = True

    def _turn(self, wall: float) -> bool:
        """Open the page of another day; whether that could be done."""
        self.write(wall)
        if self._changed or self._writing:
            return False
        try:
            self._day = self._begin(_date(wall))
        except LedgerError as error:
            self._complain("ledger_page_not_turned", text=str(error))
            return False
        return True

    def _book(self, source: SourceView, wall: float) -> None:
        before = self._booked.get(source.name)
        self._booked[source.name] = source
        added = _difference(before, source, wall)
        shares = added.submitted or added.accepted or added.rejected or added.blocks
        if not shares and not added.hashes:
            return
        self._day.entries.setdefault(source.name, Entry(wall, wall)).add(added)
        self._changed = True
        if shares:
            self._shares_changed = True

    def _begin(self, date: str) -> Day:
        """The day as far as it is on disk; what is no page is put aside and kept. Raises LedgerError."""
        path = self._folder / f"{date}.json"
        try:
            return _read(path)
        except FileNotFoundError:
            return Day(date)
        except OSError as error:  # it may be whole: nothing is written in its place
            raise LedgerError(f"{path} cannot be read: {error.strerror}") from error
        except LedgerError as error:
            aside = _unused(path.with_suffix(".unreadable"))
            log.error("ledger_put_aside", text=str(error), file=str(aside))  # noqa: TRY400  a sentence
            try:
                path.replace(aside)
            except OSError as failed:
                raise LedgerError(f"{path} cannot be read nor put aside: {failed.strerror}") from failed
            return Day(date)


def read(folder: Path) -> list[Day]:
    """Every day there is, the oldest first; raises LedgerError."""
    try:
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(f"the ledger in {folder} cannot be read: {error.strerror}") from error
    try:
        return [_read(folder / name) for name in names]
    except OSError as error:
        raise LedgerError(f"the ledger in {folder} cannot be read: {error.strerror}") from error


def totals(days: Sequence[Day]) -> dict[str, Entry]:
    """Each source over all of these days."""
    summed: dict[str, Entry] = {}
    for day in days:
        for name, entry in day.entries.items():
            summed.setdefault(name, Entry(entry.since, entry.until)).add(entry)
    return summed


def rendered(days: Sequence[Day]) -> list[str]:
    """Lines for people: each day, and where there are several all of them together."""
    lines: list[str] = []
    pages = [(day.date, day.entries) for day in days]
    if len(pages) > 1:
        pages.append(("in all", totals(days)))
    for title, entries in pages:
        for name, entry in entries.items():
            refused = ", ".join(f"{count} {reason}" for reason, count in sorted(entry.rejected.items()))
            open_ = entry.submitted - entry.accepted - entry.rejected.total()
            lines += [
                f"{title}  {name}",
                f"    shares       {entry.submitted} submitted, {entry.accepted} accepted"
                + (f", rejected: {refused}" if refused else "")
                + (f", {open_} without an answer yet" if open_ > 0 else ""),
                f"    difficulty   {entry.difficulty:.10g} accepted, {entry.expected_difficulty:.10g} expected",
                f"    work         {entry.hashes} hashes"
                + (f", {entry.blocks} blocks accepted" if entry.blocks else ""),
            ]
    return lines


def _unused(path: Path) -> Path:
    """This name, or the next that is not taken."""
    names = (path.with_suffix(f"{path.suffix}{number or ''}") for number in itertools.count())
    return next(name for name in names if not name.exists())


def _difference(before: SourceView | None, after: SourceView, wall: float) -> Entry:
    refused = Counter({**after.rejected, "stale": after.stale})
    if before is not None:
        refused -= Counter({**before.rejected, "stale": before.stale})
    return Entry(
        since=wall,
        until=wall,
        hashes=after.hashes - (before.hashes if before else 0),
        submitted=after.submitted - (before.submitted if before else 0),
        accepted=after.accepted - (before.accepted if before else 0),
        rejected=+refused,
        difficulty=after.accepted_difficulty - (before.accepted_difficulty if before else 0.0),
        blocks=after.blocks_accepted - (before.blocks_accepted if before else 0),
    )


def _read(path: Path) -> Day:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    try:
        if len(data) > _MAX_BYTES:
            raise ValueError("too large")  # noqa: TRY301
        content = json.loads(data)
        day = Day(str(content["day"]))
        for name, values in content["sources"].items():
            day.entries[str(name)] = _entry(values)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise LedgerError(f"{path} is no page of the ledger: {error}") from error
    if f"{day.date}.json" != path.name:
        raise LedgerError(f"{path} is the page of another day: {day.date!r}")
    return day


def _entry(values: Mapping[str, Any]) -> Entry:
    rejected = values["rejected"]
    return Entry(
        since=_amount(values["since"]),
        until=_amount(values["until"]),
        hashes=_count(values["hashes"]),
        submitted=_count(values["submitted"]),
        accepted=_count(values["accepted"]),
        rejected=Counter({str(reason): _count(count) for reason, count in rejected.items()}),
        difficulty=_amount(values["difficulty"]),
        blocks=_count(values["blocks"]),
    )


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"no count: {value!r:.40}")
    return value


def _amount(value: object) -> float:
    if type(value) not in (int, float) or not math.isfinite(float(value)) or float(value) < 0:  # type: ignore[arg-type]
        raise ValueError(f"no amount: {value!r:.40}")
    return float(value)  # type: ignore[arg-type]


def _date(wall: float) -> str:
    return dt.datetime.fromtimestamp(wall, dt.UTC).date().isoformat()
