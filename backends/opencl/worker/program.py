"""Programs built for a device, and the files that keep them between runs.

    <state>/opencl/<digest>/<form>.bin    the driver's binary behind 32 bytes of SHA-256 over source and binary
    <state>/opencl/<digest>/tuned.json    `tune`

The digest covers platform, device, driver and the code that writes, measures and chooses programs. A file that was cut
short or changed is built again, because drivers crash on bad binaries. Loading a binary runs whatever it holds, so
folders that other users could have written to are not used.
"""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import native
from backends.kept import replace_whole
from backends.opencl.runtime import Identity, opencl, reported
from backends.opencl.worker.source import Form, search_source
from backends.private import make_private, prune

KEEP = 32  # folders, enough for a dozen cards before and after an update; the least recently used are removed
_DIGEST = hashlib.sha256().digest_size
_ROOM = "opencl"
_LARGEST = 1 << 26  # bytes; a binary beyond is not ours
# With native.DESCRIPTION they decide what is built and which form wins; an update of the rest makes nobody tune again.
_JUDGES = ("source.py", "scan.py", "tune.py", "trial.py")


def folder_of(state: Path, identity: Identity) -> Path:
    """The folder for this device's programs, which may not exist."""
    digest = hashlib.sha256(f"{code_digest()}\n{identity.key}".encode()).hexdigest()[:32]
    return state / _ROOM / digest


def open_folder(state: Path | None, identity: Identity) -> tuple[Path | None, str | None]:
    """`folder_of`, made if need be; or None, and why nothing is kept. Never fails."""
    if state is None:
        return None, "no state directory was given"
    folder = folder_of(state, identity)
    try:
        if reason := make_private(state, _ROOM, folder.name):
            return None, reason
        prune(folder.parent, KEEP)
    except OSError as error:
        return None, f"programs cannot be kept in {state}: {error}"
    return folder, None


@cache
def code_digest() -> str:
    """Of the code that what is kept depends on."""
    digest = hashlib.sha256()
    for source in [*native.DESCRIPTION, *(Path(__file__).with_name(name) for name in _JUDGES)]:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def build(context: Any, device: Any, form: Form, folder: Path | None) -> Any:
    """The program of a form, from the folder if it is kept there, else compiled. Raises BuildFailed, OutOfResources."""
    cl, source = opencl(), search_source(form)
    if (binary := _kept(folder, form, source)) is not None:
        with suppress(cl.Error):  # made by another version of a driver that calls itself the same
            return _built(cl.Program(context, [device], [binary]))
    with reported(f"{form.name} cannot be built"):
        return _built(cl.Program(context, source))


def keep(program: Any, form: Form, folder: Path | None) -> None:
    """Keep a program for the next run, best after its first launch: some runtimes finish compiling only then."""
    if folder is None:
        return
    source = search_source(form)
    with reported(f"{form.name} has no binary"):
        binary = program.get_info(opencl().program_info.BINARIES)[0]
    with suppress(OSError):  # a full disk: it is built again next time
        replace_whole(_file(folder, form), _seal(source, binary) + binary)


def is_kept(form: Form, folder: Path | None) -> bool:
    """Whether the folder holds this program, whole."""
    return _kept(folder, form, search_source(form)) is not None


def _built(program: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of compilers that have something to say about everything
        return program.build()


def _kept(folder: Path | None, form: Form, source: str) -> bytes | None:
    if folder is None:
        return None
    try:
        with _file(folder, form).open("rb") as file:
            content = file.read(_LARGEST)
    except OSError:
        return None
    binary = content[_DIGEST:]
    return binary if binary and content[:_DIGEST] == _seal(source, binary) else None


def _seal(source: str, binary: bytes) -> bytes:
    return hashlib.sha256(source.encode() + binary).digest()


def _file(folder: Path, form: Form) -> Path:
    return folder / f"{form.name}.bin"
