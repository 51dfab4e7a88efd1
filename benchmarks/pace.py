"""The processor's clock, measured by work whose cycles are known.

Each operation of a chain waits for the one before it: an addition, an exclusive or, one cycle each on every processor
that this is likely to meet. Operands stand in registers, because newer ones add small constants while renaming, in no
time at all. What a processor says of its clock is no use here: it changes with the load, and guests do not see it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

from llvmlite import ir

from native import host_features
from native.lowering import I64
from native.object_code import compiled

CYCLES_PER_STEP = 2
_CHUNK_S = 0.001
_FIRST_STEPS = 100_000


class Pace:
    """Samples of the clock of whatever core the calling thread is on, in hertz."""

    def __init__(self) -> None:
        self._chain = chain()
        self._steps = max(int(self._sample(_FIRST_STEPS) * _CHUNK_S) // CYCLES_PER_STEP, _FIRST_STEPS)

    def sample(self) -> float:
        """About a millisecond of it; releases the GIL."""
        return self._sample(self._steps)

    def _sample(self, steps: int) -> float:
        begun = time.perf_counter()
        self._chain(steps, 0x9E37)
        return steps * CYCLES_PER_STEP / (time.perf_counter() - begun)


@cache
def chain() -> Callable[[int, int], int]:
    """(steps, x) -> x after so many steps, in each of which x is added to and turned over; releases the GIL."""
    return compiled("chain", ir.FunctionType(I64, [I64, I64]), _emit_chain, host_features())


def _emit_chain(function: ir.Function) -> None:
    steps, other = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    ir.IRBuilder(entry).branch(loop)
    builder = ir.IRBuilder(loop)
    left, x = builder.phi(I64), builder.phi(I64)
    less, after = builder.sub(left, I64(1)), builder.xor(builder.add(x, other), other)
    for phi, first, following in ((left, steps, less), (x, other, after)):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed(">", less, I64(0)), loop, end)
    ir.IRBuilder(end).ret(after)
