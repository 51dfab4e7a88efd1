"""The compiled part of `relay`, in LLVM IR."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from native.loop import SCAN, VOID, WORDS
from native.lowering import I64

_NUMBERS = I64.as_pointer()
# (scan, its arguments up to scratch, mailbox, results: found, done and found of the next) -> done
RELAY = ir.FunctionType(I64, [SCAN.as_pointer(), *SCAN.args[:-1], _NUMBERS, _NUMBERS])
# (mailbox, then what is put into it: address of parameters, rows, count and, in front of them all, the epoch)
POST = ir.FunctionType(VOID, [_NUMBERS, WORDS, I64, I64, I64])


def emit_relay(function: ir.Function) -> None:
    """The body of a RELAY."""
    scan, params, rows, start, count, hits, room, cancel, epoch, masks, scratch, mailbox, results = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    done = builder.call(scan, [params, rows, start, count, hits, room, cancel, epoch, masks, scratch, results])
    posted = builder.load_atomic(mailbox, "acquire", 8)
    now = builder.load_atomic(cancel, "monotonic", 4)
    address, shape, nonces = (builder.load(builder.gep(mailbox, [I64(index)])) for index in (1, 2, 3))
    is_for_now = builder.icmp_signed("==", posted, builder.zext(now, I64))
    with builder.if_then(builder.and_(is_for_now, builder.icmp_signed("==", shape, rows))):
        found = builder.load(results)
        behind = builder.gep(hits, [builder.mul(found, I64(2))])
        job: list[Any] = [builder.inttoptr(address, WORDS), rows, I64(0), nonces, behind, builder.sub(room, found)]
        next_done, next_found = (builder.gep(results, [I64(index)]) for index in (1, 2))
        builder.store(builder.call(scan, [*job, cancel, now, masks, scratch, next_found]), next_done)
    builder.ret(done)


def emit_post(function: ir.Function) -> None:
    """The body of a POST."""
    mailbox, params, rows, count, epoch = function.args
    builder = ir.IRBuilder(function.append_basic_block())
    for index, word in enumerate((builder.ptrtoint(params, I64), rows, count)):
        builder.store(word, builder.gep(mailbox, [I64(1 + index)]))
    builder.store_atomic(epoch, mailbox, "release", 8)
    builder.ret_void()
