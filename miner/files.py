"""Files that are replaced as a whole, so that whoever reads one sees the old content or the new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path


def replace(target: Path, data: bytes) -> None:
    """Put `data` in the place of `target`, for its owner alone; a kill is survived, a power cut need not be.

    Raises OSError.
    """
    _put(target, data, 0o600, lambda _: None)


def replace_durably(target: Path, data: bytes, mode: int = 0o666) -> None:
    """Put `data` in the place of `target`, readable as mode and umask have it; a power cut is survived.

    Raises OSError.
    """
    _put(target, data, mode, os.fsync)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name, too
    finally:
        os.close(folder)


def _put(target: Path, data: bytes, mode: int, sync: Callable[[int], None]) -> None:
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        with open(fresh, "xb", opener=lambda path, flags: os.open(path, flags, mode)) as file:
            file.write(data)
            file.flush()
            sync(file.fileno())
        fresh.replace(target)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
