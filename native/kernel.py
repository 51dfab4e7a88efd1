"""A compiled search and how to use it: parameters once per job, then ranges of nonces."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.features import host_features
from native.symbolic import MIDSTATE_WORDS, Layout

NONCES = 1 << 32
Words = NDArray[np.uint32]
_WORD = np.dtype(np.uint32)
# What compiled functions take: an array's address, which holds the array.
memory: Callable[[Any], Any] = (ctypes.c_char * 0).from_buffer


@dataclass(frozen=True, slots=True)
class Kernel:
    """A search that has been compiled and proven; shared by as many threads as like.

    lanes: nonces tested at once. requires: the CPU features that it uses. layout: what it costs, and its parameters.
    midstates: how many versions to search together, where a job has as many.
    run_scan, run_several: `native.loop.SCAN`, for one version and for more. run_midstates, run_fill: MIDSTATES, FILL.
    parts: the names under which its functions are kept.
    """

    name: str
    lanes: int
    requires: tuple[str, ...]
    layout: Layout
    scratch_words: int
    midstates: int
    run_scan: Callable[..., Any] = field(repr=False)
    run_several: Callable[..., Any] = field(repr=False)
    run_midstates: Callable[..., Any] = field(repr=False)
    run_fill: Callable[..., Any] = field(repr=False)
    parts: tuple[str, ...] = ()

    @property
    def slots(self) -> int:
        """The words of a row of parameters."""
        return self.layout.slots


def prepare(kernel: Kernel, header76: bytes, versions: Sequence[int], target: int) -> Words:
    """The parameters of a job, shape (len(versions), kernel.slots): one row for each version.

    header76: the first 76 bytes of a header, whose version field is replaced by each of `versions` (32 raw bits each).
    target: the largest hash to report, 1 .. 2**256 - 1; the search looks at its most significant 32 bits only.
    Raises ValueError for anything else.
    """
    if len(header76) != 76:
        raise ValueError(f"76 bytes of header are needed, not {len(header76)}")
    if not 0 < target < 1 << 256:
        raise ValueError(f"target out of range: {target:#x}")
    return fill(kernel, _midstates(kernel.run_midstates, header76[:64], versions), header76[64:], target)


def fill(kernel: Kernel, states: Words, tail12: bytes, target: int) -> Words:
    """The same from midstates, shape (rows, 8), and the 12 bytes of header after them; nothing is checked."""
    params = np.empty((len(states), kernel.slots), np.uint32)
    kernel.run_fill(memory(states), len(states), tail12, target >> 224, memory(params))
    return params


@dataclass(frozen=True, slots=True, eq=False)
class NonceRange:
    """What a scan is asked for: the nonces start .. start + count - 1 of a job, where hits go, and what stops it.

    params: of the job, as `prepare` made them: a row for each version.
    hits: shape (capacity, 2), capacity at least the number of rows.
    cancel: shape (1,); the scan goes on for as long as it holds `epoch`, 0 .. 2**32 - 1.
    """

    params: Words
    start: int
    count: int
    hits: Words
    cancel: Words
    epoch: int


def scan(kernel: Kernel, nonces: NonceRange) -> tuple[int, int]:
    """Test a range of nonces under every row of the parameters; return (done, found).

    Exact: every nonce of start .. start + done - 1 was tested under all rows, and hits[:found] names each hit among
    them as (nonce, row), in the order of nonces, then rows. A hit is a hash whose most significant 32 bits are at most
    the target's: everything that meets the target and, rarely, a hash just above it, so confirm each with hashlib.

    When a nonce's hits no longer fit, `done` stops in front of it, and a scan from there goes on without loss.
    As soon as `cancel` holds another epoch, the scan returns what is done. It looks before every vector of nonces, so
    within a microsecond or two. Releases the GIL.
    Raises ValueError for a range outside 0 .. 2**32 and for arrays that are not C-contiguous, writable uint32.
    """
    run, arguments = scanning(kernel, nonces)
    found = ctypes.c_int64()
    return run(*arguments, ctypes.byref(found)), found.value


def scanning(kernel: Kernel, nonces: NonceRange) -> tuple[Callable[..., Any], list[Any]]:
    """A `scan` as a function of C, and its arguments but for where to leave `found`. Raises ValueError as `scan`."""
    params, start, count, hits = nonces.params, nonces.start, nonces.count, nonces.hits
    if not 0 <= start <= start + count <= NONCES or count < 0:
        raise ValueError(f"not a range of nonces: {count} from {start}")
    if not 0 <= nonces.epoch < 1 << 32:
        raise ValueError(f"not a 32-bit epoch: {nonces.epoch}")
    _require("params", params, (*params.shape[:1], kernel.slots))
    _require("hits", hits, (*hits.shape[:1], 2))
    _require("cancel", nonces.cancel, (1,))
    rows = len(params)
    if not 0 < rows <= len(hits):
        raise ValueError(f"{rows} rows of parameters need at least one row and as much room for hits, not {len(hits)}")
    masks, scratch = np.empty(rows, np.uint32), np.empty(kernel.scratch_words, np.uint32)
    block, room, stop, *own = map(memory, (params, hits, nonces.cancel, masks, scratch))
    run = kernel.run_scan if rows == 1 else kernel.run_several
    return run, [block, rows, start, count, room, len(hits), stop, nonces.epoch, *own]


def midstates(prefix64: bytes, versions: Sequence[int], folder: Path | None = None) -> Words:
    """SHA-256's state after 64 bytes of header, shape (len(versions), 8), for devices that take midstates.

    prefix64: the first 64 bytes of a header, whose version field is replaced by each of `versions`.
    Compiled at the first call, or taken from `folder`, where it is kept. Raises ValueError for anything else.
    """
    from native.compiled import compile_midstates  # noqa: PLC0415 # what only looks at kernels needs no generator

    return _midstates(compile_midstates(host_features(), folder), prefix64, versions)


def _midstates(run: Callable[..., Any], prefix64: bytes, versions: Sequence[int]) -> Words:
    if len(prefix64) != 64:
        raise ValueError(f"64 bytes of header are needed, not {len(prefix64)}")
    if not versions or not 0 <= min(versions) <= max(versions) < 1 << 32:
        raise ValueError(f"versions are one or more 32-bit values, not {versions}")
    states = np.empty((len(versions), MIDSTATE_WORDS), np.uint32)
    run(prefix64, struct.pack(f"<{len(versions)}I", *versions), len(versions), memory(states))
    return states


def _require(name: str, array: Words, shape: tuple[int, ...]) -> None:
    if not (array.shape == shape and array.dtype == _WORD and array.flags.carray):
        raise ValueError(f"{name} must be a writable C-contiguous uint32 array of shape {shape}, not {array.shape}")
