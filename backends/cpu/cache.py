"""Where compiled kernels are kept between runs.

    <state>/kernels/<digest>/<name>/    one folder per compiled function, so that two processes never share an index

The digest covers everything that the machine code and the choice among kernels depend on: the sources of native/ and
of this package by content, the compiler's and Python's versions, the processor. A changed source therefore cannot meet
a kernel of its predecessor, whatever the clocks say. Loading a kernel runs whatever the file holds: folders that others
could have written to are left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import native

_PROVEN = "proven"
KEEP = 4  # digests, the least recently used go: enough for two versions of the program side by side


@dataclass(frozen=True, slots=True)
class KernelCache:
    """An open cache; without a folder nothing is kept, and `unusable` says why."""

    folder: Path | None
    unusable: str | None = None

    def folder_for(self, name: str) -> Path | None:
        return self.folder / name if self.folder else None

    def holds(self, name: str) -> bool:
        """Whether a kernel of this name was compiled before and passed its examination."""
        return self.folder is not None and (self.folder / name / _PROVEN).exists()

    def vouch(self, name: str) -> None:
        """Note that this kernel passed: what was compiled and ended its process at once must not be loaded again."""
        if self.folder is not None:
            with suppress(OSError):  # a full disk: it is compiled again next time
                (self.folder / name / _PROVEN).touch()

    def forget(self, name: str) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder / name, ignore_errors=True)


NO_CACHE = KernelCache(None, "no state directory was given")


def open_cache(state: Path, features: native.Features) -> KernelCache:
    """The cache under a state directory, made if need be, with the least recently used digests removed.

    Never fails: a folder that cannot be written, or that others can write to, gives a cache that keeps nothing.
    """
    kernels = state / "kernels"
    try:
        folder = kernels / _digest(features)
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        for private in (kernels, folder):
            private.mkdir(exist_ok=True, mode=0o700)
            if reason := _exposed(private):
                return KernelCache(None, reason)
        os.utime(folder)
        _prune(kernels)
    except OSError as error:
        return KernelCache(None, f"kernels cannot be kept in {kernels}: {error}")
    return KernelCache(folder)


def find_cache(state: Path, features: native.Features) -> KernelCache:
    """The cache under a state directory if there is one; writes nothing."""
    kernels = state / "kernels"
    folder = kernels / _digest(features)
    try:
        reason = _exposed(kernels) or _exposed(folder)
    except OSError as error:
        reason = str(error)
    return KernelCache(None, reason) if reason else KernelCache(folder)


def _exposed(folder: Path) -> str | None:
    """Why code must not be loaded from this folder, if so."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return f"{folder} is not a folder"
    if status.st_uid != os.geteuid():
        return f"{folder} belongs to user {status.st_uid}, not to {os.geteuid()}"
    if status.st_mode & 0o077:
        return f"{folder} is open to others (mode {stat.S_IMODE(status.st_mode):o}); chmod 700 it"
    return None


def _digest(features: native.Features) -> str:
    digest = hashlib.sha256()
    for package in (Path(native.__file__).parent, Path(__file__).parent):
        for source in sorted(package.glob("*.py")):
            digest.update(f"{source.name} {source.stat().st_size}\n".encode() + source.read_bytes())
    for part in (version("numba"), version("llvmlite"), version("numpy"), sys.version, features.fingerprint):
        digest.update(f"\n{part}".encode())
    return digest.hexdigest()[:32]


def _prune(kernels: Path) -> None:
    by_age = sorted((x for x in kernels.iterdir() if x.is_dir()), key=lambda x: x.stat().st_mtime, reverse=True)
    for stale in by_age[KEEP:]:
        shutil.rmtree(stale, ignore_errors=True)
