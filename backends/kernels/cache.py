"""Where compiled kernels are kept between runs.

    <state>/kernels/<digest>/<name>/    one folder per compiled function: object code, and whether it was examined

The digest covers everything that the machine code and the choice among kernels depend on: the sources of native/ and
of this package by content, the compiler's and Python's versions, the processor. A changed source therefore never loads
a kernel of an earlier source, whatever the clocks say. Loading a kernel runs whatever the file holds, so folders that
other users could have written to are not used.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import native
from backends.private import exposed, make_private, prune

_PROVEN = "proven"
KEEP = 4  # digests, enough for two versions of the program side by side; the least recently used are removed


@dataclass(frozen=True, slots=True)
class KernelCache:
    """An open cache. Without a folder it keeps nothing, and `unusable` says why."""

    folder: Path | None
    unusable: str | None = None

    def folder_for(self, name: str) -> Path | None:
        return self.folder / name if self.folder else None

    def holds(self, name: str) -> bool:
        """Whether a kernel of this name was compiled before and passed its examination."""
        return self.folder is not None and (self.folder / name / _PROVEN).exists()

    def vouch(self, name: str) -> None:
        """Note that this kernel passed, so that a kernel that ended its process is never loaded again."""
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
        if reason := make_private(state, kernels.name, folder.name):
            return KernelCache(None, reason)
        prune(kernels, KEEP)
    except OSError as error:
        return KernelCache(None, f"kernels cannot be kept in {kernels}: {error}")
    return KernelCache(folder)


def find_cache(state: Path, features: native.Features) -> KernelCache:
    """The cache under a state directory if there is one; writes nothing."""
    kernels = state / "kernels"
    folder = kernels / _digest(features)
    try:
        reason = exposed(kernels) or exposed(folder)
    except OSError as error:
        reason = str(error)
    return KernelCache(None, reason) if reason else KernelCache(folder)


def _digest(features: native.Features) -> str:
    digest = hashlib.sha256()
    for package in (Path(native.__file__).parent, Path(__file__).parent):
        for source in sorted(package.glob("*.py")):
            digest.update(f"{source.name} {source.stat().st_size}\n".encode() + source.read_bytes())
    for part in (version("llvmlite"), sys.version, features.fingerprint):
        digest.update(f"\n{part}".encode())
    return digest.hexdigest()[:32]
