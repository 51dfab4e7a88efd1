"""A temporary folder that does not outlive its process for long: what a killed one left, the next one removes.

Each folder holds a file that its owner keeps locked with flock(2); the lock ends with the owner, however that dies. A
folder whose lock can be had is nobody's. The file comes into being locked, so that there is no moment in which a folder
that is being made looks like one that was left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_PREFIX = "angara-chain-"
_LOCK = "owner.lock"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A fresh folder in the system's place for such, removed at the end; raises OSError."""
    _remove_left_behind(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = -1
    try:
        lock = _lock(folder)
        yield folder
    finally:
        _remove(folder)
        if lock >= 0:
            os.close(lock)


def _lock(folder: Path) -> int:
    fresh = folder / f"{_LOCK}.new"
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        fresh.rename(folder / _LOCK)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue  # gone by now, or not locked yet
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(folder)
            log.info("leftover_removed", folder=str(folder))
        except BlockingIOError:
            continue  # its owner lives
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """The lock goes last: what is cut short here is found again by the next."""
    for path in folder.glob("*"):
        if path.name == _LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
