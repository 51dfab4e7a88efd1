"""Folders that programs are loaded from: whoever can write to them can run what he likes."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def exposed(folder: Path) -> str | None:
    """Why code must not be loaded from this folder, if so. Raises OSError where it cannot be looked at."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to user {status.st_uid}, not to {os.geteuid()}"
    if status.st_mode & 0o077:
        return f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):o}); chmod 700 it"
    return None


def make_private(state: Path, *names: str) -> str | None:
    """Make state/NAME/NAME..., and say why code must not be loaded from it, if so. Raises OSError."""
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = state
    for name in names:
        folder /= name
        folder.mkdir(exist_ok=True, mode=0o700)
        if reason := exposed(folder):
            return reason
    os.utime(folder)
    return None


def prune(parent: Path, keep: int) -> None:
    """Remove all folders but those used last."""
    by_age = sorted((x for x in parent.iterdir() if x.is_dir()), key=lambda x: x.stat().st_mtime, reverse=True)
    for stale in by_age[keep:]:
        shutil.rmtree(stale, ignore_errors=True)
