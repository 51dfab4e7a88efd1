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

STEPS = 8  # in a turn of the loop, so that what the loop itself takes hides behind them
CYCLES_PER_TURN = 2 * STEPS
_CHUNK_S = 0.001
_FIRST_TURNS = 12_500


class Pace:
    """Samples of the clock of whatever core the calling thread is on, in hertz."""

    def __init__(self) -> None:
        self._chain = chain()
        self._turns = max(int(self._sample(_FIRST_TURNS) * _CHUNK_S) // CYCLES_PER_TURN, _FIRST_TURNS)

    def sample(self) -> float:
        """About a millisecond of it; releases the GIL."""
        return self._sample(self._turns)

    def _sample(self, turns: int) -> float:
        begun = time.perf_counter()
        self._chain(turns, 0x9E37)
        return turns * CYCLES_PER_TURN / (time.perf_counter() - begun)


@cache
def chain() -> Callable[[int, int], int]:
    """(turns, x) -> x after so many turns of STEPS, in each of which it is added to and turned over.

    Releases the GIL.
    """
    return compiled("chain", ir.FunctionType(I64, [I64, I64]), _emit_chain, host_features())


def _emit_chain(function: ir.Function) -> None:
    turns, other = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    ir.IRBuilder(entry).branch(loop)
    builder = ir.IRBuilder(loop)
    left, x = builder.phi(I64), builder.phi(I64)
    less, after = builder.sub(left, I64(1)), x
    for _ in range(STEPS):
        after = builder.xor(builder.add(after, other), other)
    for phi, first, following in ((left, turns, less), (x, other, after)):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed(">", less, I64(0)), loop, end)
    ir.IRBuilder(end).ret(after)
