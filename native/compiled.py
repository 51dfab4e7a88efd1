"""What numba compiles: the scan loop around the generated search, and what is computed once per job.

Imported only when something is to be compiled or loaded, because numba takes its time. The generated code enters
through intrinsics that are globals of this module: numba hashes what a closure holds into the key of its cache, and
an intrinsic in there would never hash the same twice. A scan's closure holds plain numbers instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from llvmlite import ir
from numba import core as _core
from numba import njit, types
from numba.extending import intrinsic

from native.arm import Arm
from native.errors import CompilationError, FeatureError
from native.features import Features
from native.hybrid import Hybrid
from native.lowering import I64, Lowering, Memory, Unit, call
from native.pairs import Pairs
from native.scheduled import MANY, MANY_AVX2, MANY_NARROW, ONE, ONE_AVX2, ONE_NARROW, Scheduled
from native.sha256 import IV, compress
from native.vector import Lanes, Vector

Compiled = Callable[..., Any]

core: Any = _core  # numba publishes types, but not of these
config, cgutils, cpu_target = core.config, core.cgutils, core.registry.cpu_target

# By the name of the kernel; "+" has what it uses for several versions, if that is another.
LOWERINGS: dict[str, Lowering] = {
    "avx512x16": Vector(16, ternary=True),
    "avx512x16+": Vector(16, ternary=True, several=True),
    "sha4": Pairs(4),
    "scheduled8": Scheduled(several=False, template=ONE),
    "scheduled8+": Scheduled(several=True, template=MANY),
    "scheduled8-high": Scheduled(several=False, template=replace(ONE, low=False)),
    "scheduled8-high+": Scheduled(several=True, template=replace(MANY, low=False)),
    "scheduled8-avx2": Scheduled(several=False, template=ONE_AVX2, avx512=False),
    "scheduled8-avx2+": Scheduled(several=True, template=MANY_AVX2, avx512=False),
    "scheduled4": Scheduled(several=False, template=ONE_NARROW, avx512=False, columns=4),
    "scheduled4+": Scheduled(several=True, template=MANY_NARROW, avx512=False, columns=4),
    "hybrid8": Hybrid(several=False),
    "hybrid8+": Hybrid(several=True),
    "avx2x8": Vector(8),
    "avx2x8+": Vector(8, several=True),
    "vector4": Vector(4),
    "vector4+": Vector(4, several=True),
    "scalar": Vector(1),
    "arm4": Arm(4),
}

_BLOCK = "uint32[:,::1]"
_VECTOR = "uint32[::1]"

_lock = threading.RLock()  # numba takes its settings from one place for all threads
_bound: list[Features] = []
_compiled: dict[str, Compiled] = {}


def compile_scan(features: Features, lowering: str, folder: Path | None) -> Compiled:
    """The scan of one lowering: (params, start, count, hits, cancel, epoch, masks, scratch) -> (done, found).

    Raises CompilationError.
    """
    number = list(LOWERINGS).index(lowering)
    lanes, delay = LOWERINGS[lowering].lanes, LOWERINGS[lowering].delay

    def scan(  # noqa: PLR0917 # numba's dispatcher takes no keywords cheaply
        params: Any, start: int, count: int, hits: Any, cancel: Any, epoch: int, masks: Any, scratch: Any
    ) -> tuple[int, int]:
        end = start + count
        base = start - start % lanes  # a batch starts at a multiple of its width: `end` and `start` cut it to size
        fed = base  # batches enter here, and leave at `base` when all their units have answered, `delay` units later
        rows = params.shape[0]
        row = turn = found = 0
        answered = -delay
        some = 0
        while base < end:
            if load_epoch(cancel) != epoch:
                return max(base - start, 0), found
            if row == 0:
                shared(params, row, scratch, fed, turn, number)
            mask = own(params, row, scratch, fed, turn, number)
            turn += 1
            row += 1
            if row == rows:
                row = 0
                fed += lanes
            if answered >= 0:
                masks[answered] = mask
                some |= mask
            answered += 1
            if answered < rows:
                continue
            if some:
                for lane in range(max(start - base, 0), min(end - base, lanes)):
                    here = 0
                    for version in range(rows):
                        here += masks[version] >> lane & 1
                    if found + here > hits.shape[0]:
                        return base + lane - start, found
                    for version in range(rows):
                        if masks[version] >> lane & 1:
                            hits[found, 0] = base + lane
                            hits[found, 1] = version
                            found += 1
            answered = some = 0
            base += lanes
        return count, found

    signature = f"UniTuple(int64, 2)({_BLOCK}, int64, int64, {_BLOCK}, {_VECTOR}, uint32, {_VECTOR}, {_VECTOR})"
    return _compile(features, signature, scan, folder, passes=not isinstance(LOWERINGS[lowering], Vector | Pairs))


def compile_midstates(features: Features, folder: Path | None) -> Compiled:
    """(prefix: 16 words, first words, out: a row of 8 each) -> None; once per process. Raises CompilationError."""

    def midstates(prefix: Any, firsts: Any, out: Any) -> None:
        for row in range(firsts.shape[0]):
            midstate_row(prefix, firsts[row], out, row)

    return _compile_once("midstates", features, f"void({_VECTOR}, {_VECTOR}, {_BLOCK})", midstates, folder)


def compile_fill(features: Features, lowering: str, folder: Path | None) -> Compiled:
    """(midstates, tail: 3 words, target's word, out: a row of slots each) -> None; once per layout and process.

    Raises CompilationError.
    """
    layout = LOWERINGS[lowering].layout()
    number = next(n for n, other in enumerate(LOWERINGS.values()) if other.layout() is layout)
    target_slot = layout.target_slot

    def fill(states: Any, tail: Any, target: int, out: Any) -> None:
        for row in range(states.shape[0]):
            fill_row(states, tail, out, row, number)
            out[row, target_slot] = target

    return _compile_once(f"fill{number}", features, f"void({_BLOCK}, {_VECTOR}, uint32, {_BLOCK})", fill, folder)


def _compile_once(name: str, features: Features, signature: str, body: Compiled, folder: Path | None) -> Compiled:
    with _lock:
        if name not in _compiled or features not in _bound:
            _compiled[name] = _compile(features, signature, body, folder, passes=False)
        return _compiled[name]


def _compile(features: Features, signature: str, body: Compiled, folder: Path | None, *, passes: bool) -> Compiled:
    """passes: whether to run LLVM's passes over its own language.

    They take half of all the time, and make what vectors and pairs emit no faster: what can be computed beforehand
    was, and choosing instructions finds the rest.
    """
    with _lock:
        _bind(features)
        usual, config.OPT = config.OPT, config.OPT if passes else 0
        try:
            if folder is not None:
                # Without the cache it may yet compile, whatever was wrong with it: a full disk, a torn file.
                with suppress(Exception):
                    return _compile_cached(signature, body, folder)
            return _jit(signature, body)
        except Exception as error:
            raise CompilationError(f"{body.__name__} for {features.cpu}: {error}") from error
        finally:
            config.OPT = usual


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
        cpu_target.target_context.codegen()  # now: how well it chooses instructions is settled here, once for all
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


def _shared(  # noqa: PLR0917 # numba passes arguments by position
    _typing: Any, params: Any, row: Any, scratch: Any, first: Any, turn: Any, number: Any
) -> Any:
    """The first half of a lowering, for the batch of nonces from `first` on."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        _lowering(number).emit_shared(builder, _unit(context, builder, signature, args, number))
        return context.get_dummy_value()

    return types.void(params, row, scratch, first, turn, number), codegen


def _own(  # noqa: PLR0917 # numba passes arguments by position
    _typing: Any, params: Any, row: Any, scratch: Any, first: Any, turn: Any, number: Any
) -> Any:
    """The second half of a lowering: the hits, one bit each, under one row of parameters."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return _lowering(number).emit_own(builder, _unit(context, builder, signature, args, number))

    return types.uint32(params, row, scratch, first, turn, number), codegen


def _unit(context: Any, builder: ir.IRBuilder, signature: Any, args: Any, number: Any) -> Unit:
    """What both halves are given, from the arguments of their intrinsics."""
    if _lowering(number).sse_encodings and not _bound[0].lacks(["avx"]):
        # Intel's processors since Ice Lake pay 100 cycles for an instruction of the SSE encoding while the upper part
        # of a register is in use. SHA instructions have no other, and LLVM clears registers in front of calls only.
        call(builder, "llvm.x86.avx.vzeroupper", ir.VoidType(), [])
    block = _data(context, builder, signature.args[0], args[0])
    row = context.cast(builder, args[1], signature.args[1], types.int64)
    room = builder.ptrtoint(_data(context, builder, signature.args[2], args[2]).data, I64)
    aligned = builder.inttoptr(builder.and_(builder.add(room, I64(63)), I64(-64)), block.data.type)
    nonce = context.cast(builder, args[3], signature.args[3], types.uint32)
    turn = context.cast(builder, args[4], signature.args[4], types.int64)
    rows = cgutils.unpack_tuple(builder, block.shape)[0]
    above = builder.sub(builder.select(builder.icmp_unsigned("==", row, I64(0)), rows, row), I64(1))
    params, earlier = (Memory(builder, _row(builder, block, x)) for x in (row, above))
    return Unit(nonce, turn, params, earlier, Memory(builder, aligned))


def _lowering(number: Any) -> Lowering:
    lowering: Lowering = list(LOWERINGS.values())[number.literal_value]
    return lowering


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


def _fill_row(_typing: Any, states: Any, tail: Any, out: Any, row: Any, number: Any) -> Any:
    """The uniform terms of one row of midstates, into a row of `out`."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        row_index = context.cast(builder, args[3], signature.args[3], types.int64)
        state = _loader(builder, _row(builder, _data(context, builder, signature.args[0], args[0]), row_index))
        rest = _loader(builder, _data(context, builder, signature.args[1], args[1]).data)
        metal = Lanes(builder, 1, ternary=False, load=rest)
        layout = _lowering(number).layout()
        terms = layout.fill(metal, [state(index) for index in range(8)], [rest(index) for index in range(3)])
        _store(builder, terms, _row(builder, _data(context, builder, signature.args[2], args[2]), row_index))
        return context.get_dummy_value()

    return types.void(states, tail, out, row, number), codegen


# Called from compiled code only, with fewer arguments than their definitions take: hence no type.
load_epoch: Any = intrinsic(_load_epoch)
shared: Any = intrinsic(prefer_literal=True)(_shared)
own: Any = intrinsic(prefer_literal=True)(_own)
midstate_row: Any = intrinsic(_midstate_row)
fill_row: Any = intrinsic(prefer_literal=True)(_fill_row)
