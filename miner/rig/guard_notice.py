"""Notices of devices that a guard turned off. The state folder keeps them until the next start logs them once.

The file is small and replaced as a whole. Anything in it that is not a notice is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from miner.books import files

_NAME = "guard.json"
_KEPT = 32
_TEXT_MAX = 500  # characters of a device's id or a reason
_SIZE_MAX = 1 << 16
_LAST_AT = 1 << 35  # Unix time that any calendar can show


@dataclass(frozen=True, slots=True)
class Notice:
    """A device that a guard turned off. `at`: Unix time."""

    device: str
    reason: str
    at: float


def add(state: Path, notices: Iterable[Notice]) -> None:
    """Add these notices to the file; only the newest stay. Raises OSError."""
    kept = (*_read(state / _NAME), *notices)[-_KEPT:]
    files.replace(state / _NAME, json.dumps([asdict(notice) for notice in kept]).encode())


def take(state: Path) -> tuple[Notice, ...]:
    """Return the notices, oldest first, and remove the file. Raises OSError if it cannot be removed."""
    notices = _read(state / _NAME)
    (state / _NAME).unlink(missing_ok=True)
    return notices


def _read(path: Path) -> tuple[Notice, ...]:
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        with path.open("rb") as file:
            content = json.loads(file.read(_SIZE_MAX))
        return tuple(_notice(entry) for entry in list(content)[-_KEPT:])
    return ()


def _notice(entry: dict[str, object]) -> Notice:
    match entry:
        case {"device": str(device), "reason": str(reason), "at": int() | float() as at} if 0 <= at < _LAST_AT:
            return Notice(device[:_TEXT_MAX], reason[:_TEXT_MAX], float(at))
    raise ValueError("not what was written there")
