"""The locks on devices: one miner per GPU or ASIC, whatever the state folder or the user.

Several miners may share a CPU: two miners on one CPU are slow, not dangerous.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from backends.base import DeviceInfo, Kind
from miner.books.state_dir import Lock, StateError, Taken
from miner.printable import printable

_LOCKS = Path("/proc/locks")
_RUN_LOCK = Path("/run/lock")  # where every user of a machine looks for locks on devices; FHS 5.9


class Unlockable(StateError):
    """No folder for locks can be written."""


def lock_folders(state: Path | None, environ: Mapping[str, str]) -> list[Path]:
    """Where device locks may lie, the most widely shared first."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    own = [Path(runtime)] if runtime.startswith("/") else []
    return [_RUN_LOCK, *own, *([state / "locks"] if state else [])]


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
