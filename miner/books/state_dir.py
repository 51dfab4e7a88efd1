"""The folder that outlives a run (blocks on their way, caches, latches) and the locks that keep two miners apart.

One miner per folder, one miner per GPU or ASIC. A CPU may be shared: two miners on it are slow, not dangerous. A lock
is flock(2) on a file that is never removed, so it ends with its holder however that dies; the file holds the holder's
pid for people.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from backends.base import DeviceInfo, Kind
from miner.printable import printable

_LOCKS = Path("/proc/locks")
_RUN_LOCK = Path("/run/lock")  # where every user of a machine looks for locks on devices; FHS 5.9


class StateError(Exception):
    """The state folder cannot be used; the message says what to do."""


class Taken(StateError):
    """Another miner holds this folder or device."""


class Unlockable(StateError):
    """No folder for locks can be written."""


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


def lock_folders(state: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """Where device locks may lie, the most widely shared first."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    own = [Path(runtime)] if runtime.startswith("/") else []
    return [_RUN_LOCK, *own, *([state / "locks"] if state else [])]


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


def lock_device(info: DeviceInfo, folders: list[Path]) -> Lock | None:
    """Keep other miners off this device; None where it may be shared. Raises Taken, or Unlockable without a folder."""
    if _shared(info):
        return None
    name = _lock_name(info)
    for folder in folders:
        try:
            if folder.name == "locks":
                folder.mkdir(mode=0o700, exist_ok=True)
            return Lock(folder / name, 0o666)  # another user's miner must be able to see it, too
        except Taken as error:
            raise Taken(f"{printable(info.id)}: {error}") from error
        except OSError as error:
            if error.errno == errno.EACCES and (folder / name).exists():
                raise Taken(f"{printable(info.id)}: {folder / name} belongs to somebody else") from error
    raise Unlockable(f"{printable(info.id)}: no folder for its lock can be written: {', '.join(map(str, folders))}")


def holder(info: DeviceInfo, folders: list[Path], locks: Path = _LOCKS) -> str | None:
    """Who drives this device now, as "the miner with pid 12"; None: nobody, or it may be shared. Takes no lock itself.

    `locks`: the kernel's list of locks, see proc_locks(5). A miner in another pid namespace is not seen.
    """
    if _shared(info):
        return None
    try:
        held = {(words[4], words[5].rpartition(":")[2]) for line in locks.open() if "FLOCK" in (words := line.split())}
    except (OSError, IndexError):
        return None
    for folder in folders:
        try:
            with (folder / _lock_name(info)).open("rb") as file:
                pid, inode = file.read(32).decode("ascii", "replace").strip(), str(os.fstat(file.fileno()).st_ino)
        except OSError:
            continue
        if (pid, inode) in held:
            return f"the miner with pid {pid}"
    return None


def _shared(info: DeviceInfo) -> bool:
    """Whether several miners may drive this device at a time."""
    return info.kind is Kind.CPU or info.virtual


def _lock_name(info: DeviceInfo) -> str:
    return "angara-" + re.sub(r"[^A-Za-z0-9._-]", "-", info.id)[:200] + ".lock"


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
