"""Files that are replaced as a whole, so that whoever reads one sees the old content or the new."""

from __future__ import annotations

from pathlib import Path

from backends.kept import replace_whole


def replace(target: Path, data: bytes) -> None:
    """Put `data` in the place of `target`, for its owner alone; a kill is survived, a power cut need not be.

    Raises OSError.
    """
    replace_whole(target, data)


def replace_durably(target: Path, data: bytes, mode: int = 0o666) -> None:
    """Put `data` in the place of `target`, readable as mode and umask have it; a power cut is survived.

    Raises OSError.
    """
    replace_whole(target, data, mode=mode, durable=True)
