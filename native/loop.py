"""The loops around the search, in LLVM IR: over a range of nonces, and over a job's versions once per job.

Functions of C, for whoever loads their machine code (`native.object_code`). SCAN does what `native.scan` promises:

    scan(params, rows, start, count, hits, room, cancel, epoch, masks, scratch, found) -> done

        base = fed = start - start % lanes
        row = some = 0
        answered = -delay
        for turn in range(batches * rows + delay):
            if cancel[0] != epoch: return max(base - start, 0)
            if row == 0: shared(fed)                    # of the lowering: once per batch
            mask = own(params[row], fed)                # and once per unit: a batch under one version
            row += 1
            if row == rows: row, fed = 0, fed + lanes
            if answered >= 0: masks[answered], some = mask, some | mask
            answered += 1
            if answered == rows:
                if some: report(base)                   # into hits; returns from here if there is no room
                answered = some = 0
                base += lanes
        return count

A batch starts at a multiple of its width: `start` and the end cut to size what it reports. Batches enter the search at
`fed`, and leave it at `base` when all their units have answered, which a lowering does `delay` units later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from native.lowering import I32, I64, Lowering, Memory, Unit, call
from native.sha256 import IV, compress
from native.symbolic import MIDSTATE_WORDS, TAIL_WORDS, Layout
from native.vector import Lanes

WORDS, VOID = I32.as_pointer(), ir.VoidType()
# (params, rows, start, count, hits, room, cancel, epoch, masks: one per row, scratch, found) -> done
SCAN = ir.FunctionType(I64, [WORDS, I64, I64, I64, WORDS, I64, WORDS, I32, WORDS, WORDS, I64.as_pointer()])
# (the first 64 bytes of a header, versions for it, how many, out: a midstate each)
MIDSTATES = ir.FunctionType(VOID, [WORDS, WORDS, I64, WORDS])
# (midstates, rows, the next 12 bytes, target's word, out: a row of slots each)
FILL = ir.FunctionType(VOID, [WORDS, I64, WORDS, I32, WORDS])

SCRATCH_WORDS = 16  # beyond what the lowering asks for: it gets its memory from a multiple of 64 bytes on


class Variable:
    """A number in memory: the frame of the function, or the address that is given."""

    def __init__(self, builder: ir.IRBuilder, value: ir.Value, address: ir.Value | None = None) -> None:
        with builder.goto_entry_block():
            self._address = address or builder.alloca(value.type)
        self._builder = builder
        self.set(value)

    def get(self) -> ir.Value:
        return self._builder.load(self._address)

    def set(self, value: ir.Value) -> None:
        self._builder.store(value, self._address)

    def add(self, amount: ir.Value) -> None:
        self.set(self._builder.add(self.get(), amount))


@contextmanager
def counting(builder: ir.IRBuilder, first: ir.Value, end: ir.Value) -> Iterator[ir.Value]:
    """The body of a loop over the numbers from `first` up to `end`, which is left out."""
    number = Variable(builder, first)
    before, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(before)
    builder.position_at_end(before)
    builder.cbranch(builder.icmp_signed("<", number.get(), end), body, after)
    builder.position_at_end(body)
    yield number.get()
    number.add(first.type(1))
    builder.branch(before)
    builder.position_at_end(after)


def emit_scan(function: ir.Function, lowering: Lowering, *, avx: bool) -> None:
    """The body of a SCAN. avx: the target has it."""
    params, rows, start, count, hits, room, cancel, epoch, masks, scratch, found_at = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    zero, lanes = I64(0), I64(lowering.lanes)
    end, first = builder.add(start, count), builder.and_(start, I64(-lowering.lanes))
    batches = builder.sdiv(builder.sub(builder.add(end, I64(lowering.lanes - 1)), first), lanes)
    starts = first, first, zero, I64(-lowering.delay), I32(0)
    base, fed, row, answered, some = (Variable(builder, value) for value in starts)
    found = Variable(builder, zero, found_at)
    aligned = builder.and_(builder.add(builder.ptrtoint(scratch, I64), I64(63)), I64(-64))
    working = Memory(builder, builder.inttoptr(aligned, WORDS))

    def unit() -> Unit:
        now = row.get()
        above = builder.sub(builder.select(builder.icmp_signed("==", now, zero), rows, now), I64(1))
        slots = I64(lowering.layout().slots)
        mine, earlier = (Memory(builder, params).beyond(builder.mul(x, slots)) for x in (now, above))
        if lowering.sse_encodings and avx:
            # Intel's processors since Ice Lake pay 100 cycles for an instruction of the SSE encoding while the upper
            # part of a register is in use. SHA instructions have no other, and LLVM clears registers in front of calls
            # only.
            call(builder, "llvm.x86.avx.vzeroupper", VOID, [])
        return Unit(builder.trunc(fed.get(), I32), turn, mine, earlier, working)

    def report() -> None:
        """Hand out the hits of a batch; return in front of a nonce that has more than there is room for."""
        batch = base.get()
        low = call(builder, "llvm.smax.i64", I64, [builder.sub(start, batch), zero])
        high = call(builder, "llvm.smin.i64", I64, [builder.sub(end, batch), lanes])
        with counting(builder, low, high) as lane:
            nonce = builder.add(batch, lane)

            def hit(version: ir.Value) -> ir.Value:
                mask = builder.load(builder.gep(masks, [version]))
                return builder.and_(builder.lshr(mask, builder.trunc(lane, I32)), I32(1))

            here = Variable(builder, zero)
            with counting(builder, zero, rows) as version:
                here.add(builder.zext(hit(version), I64))
            with builder.if_then(builder.icmp_signed(">", builder.add(found.get(), here.get()), room)):
                builder.ret(builder.sub(nonce, start))
            with counting(builder, zero, rows) as version, builder.if_then(builder.trunc(hit(version), ir.IntType(1))):
                place = builder.gep(hits, [builder.mul(found.get(), I64(2))])
                builder.store(builder.trunc(nonce, I32), place)
                builder.store(builder.trunc(version, I32), builder.gep(place, [I64(1)]))
                found.add(I64(1))

    with counting(builder, zero, builder.add(builder.mul(batches, rows), I64(lowering.delay))) as turn:
        # An ordinary load might be moved out of the loop.
        with builder.if_then(builder.icmp_unsigned("!=", builder.load_atomic(cancel, "monotonic", 4), epoch)):
            builder.ret(call(builder, "llvm.smax.i64", I64, [builder.sub(base.get(), start), zero]))
        with builder.if_then(builder.icmp_signed("==", row.get(), zero)):
            lowering.emit_shared(builder, unit())
        mask = lowering.emit_own(builder, unit())
        row.add(I64(1))
        with builder.if_then(builder.icmp_signed("==", row.get(), rows)):
            row.set(zero)
            fed.add(lanes)
        with builder.if_then(builder.icmp_signed(">=", answered.get(), zero)):
            builder.store(mask, builder.gep(masks, [answered.get()]))
            some.set(builder.or_(some.get(), mask))
        answered.add(I64(1))
        with builder.if_then(builder.icmp_signed("==", answered.get(), rows)):
            with builder.if_then(builder.icmp_unsigned("!=", some.get(), I32(0))):
                report()
            answered.set(zero)
            some.set(I32(0))
            base.add(lanes)
    builder.ret(count)


def emit_midstates(function: ir.Function) -> None:
    """The body of MIDSTATES: compressions of 16 words, the first of them replaced."""
    prefix, firsts, rows, out = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    with counting(builder, I64(0), rows) as row:
        metal = Lanes(builder, 1)
        block = Memory(builder, firsts).beyond(row).words(1) + Memory(builder, prefix).words(16)[1:]
        state = compress(metal, [metal.constant(x) for x in IV], [metal.swap_bytes(word) for word in block])
        Memory(builder, out).beyond(builder.mul(row, I64(MIDSTATE_WORDS))).fill(state)
    builder.ret_void()


def emit_fill(function: ir.Function, layout: Layout) -> None:
    """The body of FILL: the uniform terms under each midstate, then the target's word."""
    states, rows, tail, target, out = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    with counting(builder, I64(0), rows) as row:
        midstate = Memory(builder, states).beyond(builder.mul(row, I64(MIDSTATE_WORDS))).words(MIDSTATE_WORDS)
        metal = Lanes(builder, 1)
        terms = layout.fill(metal, midstate, [metal.swap_bytes(x) for x in Memory(builder, tail).words(TAIL_WORDS)])
        Memory(builder, out).beyond(builder.mul(row, I64(layout.slots))).fill([*terms, target])
    builder.ret_void()
