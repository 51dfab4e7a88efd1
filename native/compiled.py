"""What numba compiles: the scan loop around the generated search, and what is computed once per job.

Imported only when something is to be compiled or loaded, because numba takes its time. The generated code enters
through intrinsics that are globals of this module: numba hashes what a closure holds into the key of its cache, and
an intrinsic in there would never hash the same twice. A scan's closure holds two plain numbers instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils as _cgutils
from numba.core import config as _config
from numba.extending import intrinsic

from native.errors import CompilationError, FeatureError
from native.features import Features
from native.sha256 import IV, compress
from native.symbolic import layout
from native.vector import I64, Lanes, emit_search

Compiled = Callable[..., Any]

# numba publishes types, but not of these two.
config: Any = _config
cgutils: Any = _cgutils

_BLOCK = "uint32[:,::1]"
_VECTOR = "uint32[::1]"

_lock = threading.RLock()  # numba takes its settings from one place for all threads
_bound: list[Features] = []
_compiled: dict[str, Compiled] = {}


def compile_scan(features: Features, lanes: int, *, ternary: bool, folder: Path | None) -> Compiled:
    """The scan of one width: (params, start, count, hits, cancel, epoch, masks) -> (done, found).

    Raises CompilationError.
    """
    logic = int(ternary)

    def scan(  # noqa: PLR0917 # numba's dispatcher takes no keywords cheaply
        params: Any, start: int, count: int, hits: Any, cancel: Any, epoch: int, masks: Any
    ) -> tuple[int, int]:
        end = start + count
        base = start - start % lanes  # a vector starts at a multiple of its width: `end` and `start` cut it to size
        found = 0
        while base < end:
            some = 0
            for row in range(params.shape[0]):
                if load_epoch(cancel) != epoch:
                    return max(base - start, 0), found
                masks[row] = search(params, row, base, lanes, logic)
                some |= masks[row]
            if some:
                for lane in range(max(start - base, 0), min(end - base, lanes)):
                    here = 0
                    for row in range(params.shape[0]):
                        here += masks[row] >> lane & 1
                    if found + here > hits.shape[0]:
                        return base + lane - start, found
                    for row in range(params.shape[0]):
                        if masks[row] >> lane & 1:
                            hits[found, 0] = base + lane
                            hits[found, 1] = row
                            found += 1
            base += lanes
        return count, found

    signature = f"UniTuple(int64, 2)({_BLOCK}, int64, int64, {_BLOCK}, {_VECTOR}, uint32, {_VECTOR})"
    return _compile(features, signature, scan, folder)


def compile_midstates(features: Features, folder: Path | None) -> Compiled:
    """(prefix: 16 words, first words, out: a row of 8 each) -> None; once per process. Raises CompilationError."""

    def midstates(prefix: Any, firsts: Any, out: Any) -> None:
        for row in range(firsts.shape[0]):
            midstate_row(prefix, firsts[row], out, row)

    return _compile_once(features, f"void({_VECTOR}, {_VECTOR}, {_BLOCK})", midstates, folder)


def compile_fill(features: Features, folder: Path | None) -> Compiled:
    """(midstates, tail: 3 words, target's word, out: a row of slots each) -> None; once per process.

    Raises CompilationError.
    """
    target_slot = layout().target_slot

    def fill(states: Any, tail: Any, target: int, out: Any) -> None:
        for row in range(states.shape[0]):
            fill_row(states, tail, out, row)
            out[row, target_slot] = target

    return _compile_once(features, f"void({_BLOCK}, {_VECTOR}, uint32, {_BLOCK})", fill, folder)


def _compile_once(features: Features, signature: str, body: Compiled, folder: Path | None) -> Compiled:
    with _lock:
        if body.__name__ not in _compiled or features not in _bound:
            _compiled[body.__name__] = _compile(features, signature, body, folder)
        return _compiled[body.__name__]


def _compile(features: Features, signature: str, body: Compiled, folder: Path | None) -> Compiled:
    with _lock:
        _bind(features)
        try:
            if folder is not None:
                # Without the cache it may yet compile, whatever was wrong with it: a full disk, a torn file.
                with suppress(Exception):
                    return _compile_cached(signature, body, folder)
            return _jit(signature, body)
        except Exception as error:
            raise CompilationError(f"{body.__name__} for {features.cpu}: {error}") from error


def _compile_cached(signature: str, body: Compiled, folder: Path) -> Compiled:
    saved = config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES
    # Only the folder that was vouched for: numba would fall back to others, where a stale kernel may lie.
    config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = str(folder), "UserProvidedCacheLocator"
    try:
        return _jit(signature, body, cache=True)
    finally:
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = saved


def _jit(signature: str, body: Compiled, *, cache: bool = False) -> Compiled:
    compiled: Compiled = njit(signature, nogil=True, cache=cache)(body)
    return compiled


def _bind(features: Features) -> None:
    """Make numba compile for these features; it asks once per process, so there is no second choice."""
    if not _bound:
        config.CPU_NAME, config.CPU_FEATURES = features.cpu, features.target
        _bound.append(features)
    if _bound[0] != features:
        raise FeatureError("this process already compiles for other CPU features; use a process of its own")


def _data(context: Any, builder: ir.IRBuilder, kind: Any, array: ir.Value) -> Any:
    return context.make_array(kind)(context, builder, array)


def _row(builder: ir.IRBuilder, block: Any, row: ir.Value) -> ir.Value:
    """The address of the first word of a row of a contiguous block."""
    width = cgutils.unpack_tuple(builder, block.shape)[1]
    return builder.gep(block.data, [builder.mul(row, width)])


def _loader(builder: ir.IRBuilder, address: ir.Value) -> Callable[[int], ir.Value]:
    return lambda index: builder.load(builder.gep(address, [I64(index)]))


def _store(builder: ir.IRBuilder, values: Sequence[ir.Value], address: ir.Value) -> None:
    for index, value in enumerate(values):
        builder.store(value, builder.gep(address, [I64(index)]))


def _load_epoch(_typing: Any, cancel: Any) -> Any:
    """cancel[0], read from memory every time: an ordinary load may be moved out of the loop."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        array = _data(context, builder, signature.args[0], args[0])
        return builder.load_atomic(array.data, "monotonic", 4)

    return types.uint32(cancel), codegen


def _search(_typing: Any, params: Any, row: Any, first: Any, lanes: Any, ternary: Any) -> Any:
    """The hits among `lanes` nonces from `first` on, one bit each, under one row of parameters."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        block = _data(context, builder, signature.args[0], args[0])
        row_index = context.cast(builder, args[1], signature.args[1], types.int64)
        nonce = context.cast(builder, args[2], signature.args[2], types.uint32)
        load = _loader(builder, _row(builder, block, row_index))
        return emit_search(builder, lanes.literal_value, nonce, load, ternary=bool(ternary.literal_value))

    return types.uint32(params, row, first, lanes, ternary), codegen


def _midstate_row(_typing: Any, prefix: Any, first: Any, out: Any, row: Any) -> Any:
    """One compression of 16 words, the first replaced, into a row of `out`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        load = _loader(builder, _data(context, builder, signature.args[0], args[0]).data)
        metal = Lanes(builder, 1, ternary=False, load=load)
        block = [args[1], *(metal.slot(index) for index in range(1, 16))]
        state = compress(metal, [metal.constant(x) for x in IV], block)
        row_index = context.cast(builder, args[3], signature.args[3], types.int64)
        _store(builder, state, _row(builder, _data(context, builder, signature.args[2], args[2]), row_index))
        return context.get_dummy_value()

    return types.void(prefix, first, out, row), codegen


def _fill_row(_typing: Any, states: Any, tail: Any, out: Any, row: Any) -> Any:
    """The uniform terms of one row of midstates, into a row of `out`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        row_index = context.cast(builder, args[3], signature.args[3], types.int64)
        state = _loader(builder, _row(builder, _data(context, builder, signature.args[0], args[0]), row_index))
        rest = _loader(builder, _data(context, builder, signature.args[1], args[1]).data)
        metal = Lanes(builder, 1, ternary=False, load=rest)
        terms = layout().fill(metal, [state(index) for index in range(8)], [rest(index) for index in range(3)])
        _store(builder, terms, _row(builder, _data(context, builder, signature.args[2], args[2]), row_index))
        return context.get_dummy_value()

    return types.void(states, tail, out, row), codegen


# Called from compiled code only, with fewer arguments than their definitions take: hence no type.
load_epoch: Any = intrinsic(_load_epoch)
search: Any = intrinsic(prefer_literal=True)(_search)
midstate_row: Any = intrinsic(_midstate_row)
fill_row: Any = intrinsic(_fill_row)
