"""The folder that outlives a run: blocks to be submitted, caches, latches. One miner per folder.

A lock is flock(2) on a file that is never removed, so the lock ends with the process that holds it, however that
process dies. The file names the holder's pid for people.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from miner.printable import printable


class StateError(Exception):
    """The state folder cannot be used; the message says what to do."""


class Taken(StateError):
    """Another miner holds this folder or device."""


class Unwritable(StateError):
    """Nothing can be kept there. The embedded chain can do without; a block worth something cannot."""


def locate(configured: Path | None, environ: Mapping[str, str]) -> Path:
    """The state folder: as configured, as systemd says, or as the XDG specification says. Raises StateError."""
    if configured is not None:
        return configured
    if folder := environ.get("STATE_DIRECTORY", "").partition(":")[0]:
        return Path(folder)
    xdg = environ.get("XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg, "angara")
    if home := environ.get("HOME"):
        return Path(home, ".local", "state", "angara")
    raise Unwritable("no place for the state folder: HOME is not set; give --state-dir")


class Lock:
    """An exclusive lock, held from construction to close()."""

    def __init__(self, path: Path, mode: int = 0o600) -> None:
        """Raises Taken with the holder's pid, or OSError where there can be no lock."""
        self._fd = _open(path, mode)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = re.match(rb"[0-9]{1,10}\b", os.pread(self._fd, 32, 0))
            self.close()
            who = f"the miner with pid {holder[0].decode()}" if holder else "another miner"
            raise Taken(f"in use by {who}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StateDir:
    """The state folder of this process, locked from open() to close()."""

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def open(cls, path: Path) -> Self:
        """Create the folder for this user alone if need be, and lock it. Raises Taken, Unwritable or StateError."""
        shown = printable(str(path))
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.stat().st_mode & stat.S_IWOTH:
                raise StateError(
                    f"state folder {shown}: everybody could put code and blocks there; chmod o-w it or give --state-dir"
                )
            return cls(path, Lock(path / "lock"))
        except Taken as error:
            raise Taken(f"state folder {shown}: {error}; stop it, or give this one its own --state-dir") from error
        except (FileExistsError, NotADirectoryError) as error:
            raise StateError(f"state folder {shown}: a file is in the way; give another --state-dir") from error
        except (OSError, ValueError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or error
            raise Unwritable(f"state folder {shown}: {reason}; make it writable or give --state-dir") from error

    def close(self) -> None:
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(path: Path, mode: int) -> int:
    """Open a lock file that may be somebody else's. O_CREAT comes last: sticky folders forbid it on others' files."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags)
    except FileNotFoundError:
        pass
    try:
        fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags)
    os.fchmod(fd, mode)  # the umask must not hide it from other users
    return fd
