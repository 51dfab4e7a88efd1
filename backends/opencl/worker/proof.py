"""The examination of a program: it must give known answers before it mines or its speed is measured.

Compilers for graphics cards have been wrong where the source was right, and so have cards that are too hot.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backends.base import NONCES
from backends.kernels.blocks import HEADERS
from backends.opencl.errors import WrongResult
from backends.opencl.runtime import Identity, find
from backends.opencl.worker.reference import hits_by_hashlib
from backends.opencl.worker.scan import DeviceSearch
from backends.opencl.worker.search import LAUNCH_S, Search
from backends.opencl.worker.source import Form

_EASY = 1 << 252  # one hash in sixteen
_FIRST_DIFFICULTY = 1 << 224
_ROLLED = 13  # the lowest of the version's bits that may be rolled


def open_search(
    identity: Identity, forms: Sequence[Form], folder: Path | None = None, *, launch_s: float = LAUNCH_S
) -> Search:
    """A search that has given the known answers.

    forms: the one for a single version, and if another is better for several, that one too. folder: where programs are
    kept (`program.open_folder`). Raises NoPlatform, NoDevice, BuildFailed, OutOfResources, WrongResult, DeviceLost.
    """
    search = DeviceSearch(find(identity), forms, folder, launch_s)
    for form in search.forms:
        prove(search, form)
        search.keep(form)
    return search


def prove(search: DeviceSearch, form: Form) -> None:
    """Compare a form with hashlib on real blocks, easy and hard targets, odd ranges; WrongResult if it differs."""
    for height, header in HEADERS.items():
        version, nonce = int.from_bytes(header[:4], "little"), int.from_bytes(header[76:], "little")
        versions = [version ^ row << _ROLLED for row in range(form.midstates)]
        hard = _examine(search, form, header[:76], versions, _FIRST_DIFFICULTY - 1, range(nonce - 100, nonce + 101))
        if (nonce, version) not in hard:
            raise WrongResult(f"{form.name}: missed the nonce of block {height}")
        _examine(search, form, header[:76], versions[:1], _EASY, range(nonce - 77, nonce + 73))
    first, versions = HEADERS[0][:76], [row << _ROLLED for row in range(form.midstates)]
    _examine(search, form, first, versions, _EASY, range(NONCES - 205, NONCES))
    _examine(search, form, first, versions, (1 << 256) - 1, range(1, 40))


def _examine(  # noqa: PLR0917 # a search and what it is to search
    search: DeviceSearch, form: Form, header76: bytes, versions: list[int], target: int, nonces: range
) -> list[tuple[int, int]]:
    job = search.prepare_for(form, header76, versions, target)
    got = list(search.collect(search.launch(job, nonces.start, len(nonces))).hits)
    wanted = hits_by_hashlib(header76, versions, target, nonces)
    if sorted(got) != sorted(wanted):
        raise WrongResult(f"{form.name}: {len(got)} hits from nonce {nonces.start} on, where hashlib has {len(wanted)}")
    return got
