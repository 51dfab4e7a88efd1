"""How long a unit of the scheduled search takes under a template, without the scan around it.

Nothing but the unit's text in a loop, with buffers by turns as the scan has them: assembled in a tenth of the time
that the whole kernel takes to compile. The words in the buffers do not matter to how long it takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from llvmlite import ir

from native import Features
from native.hybrid import LANES, MESSAGE_WORDS, UNIT_WORDS
from native.loop import VOID, WORDS
from native.lowering import I64
from native.object_code import compiled
from native.schedule import Template
from native.scheduled import Scheduled

_UNITS = 200  # of a chunk: a fiftieth of a millisecond on a fast processor
_CHUNKS = 30
_ENOUGH_S = 0.05  # what takes so long is not worth a second look
_PARAMS = 1 << 10  # words, more than any layout has


class Stopwatch:
    """Measures on the features' processor, which must be the one that this runs on."""

    def __init__(self, features: Features, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._features = features
        sizes = (UNIT_WORDS, UNIT_WORDS, MESSAGE_WORDS, MESSAGE_WORDS, _PARAMS)
        self._room = [np.zeros(size + 16, np.uint32) for size in sizes]
        self._addresses = [-(-room.ctypes.data // 64) * 64 for room in self._room]

    def __call__(self, template: Template, *, several: bool) -> float:
        """Seconds for a hash, the best of many short chunks. ValueError: the template cannot be printed."""
        emit = partial(_emit_loop, template=template, several=several)
        run = compiled("run", ir.FunctionType(VOID, [WORDS] * 5 + [I64]), emit, self._features)
        took: list[float] = []
        while len(took) < _CHUNKS and sum(took) < _ENOUGH_S:
            since = self._clock()
            run(*self._addresses, _UNITS)
            took.append(self._clock() - since)
        return min(took) / (_UNITS * LANES)


def _emit_loop(function: ir.Function, template: Template, *, several: bool) -> None:
    *buffers, params, units = function.args
    entry, loop, end = (function.append_basic_block(name) for name in ("entry", "loop", "end"))
    ir.IRBuilder(entry).branch(loop)
    builder = ir.IRBuilder(loop)
    left = builder.phi(I64)
    turns = [builder.phi(buffer.type) for buffer in buffers]
    # Units take turns with two buffers; the message is by turns too if it is written a unit ahead.
    after = [turns[1], turns[0], *(turns[2:] if several else turns[:1:-1])]
    Scheduled(several=several, template=template).emit_text(builder, [*turns, params, params])
    less = builder.sub(left, I64(1))
    builder.cbranch(builder.icmp_signed(">", less, I64(0)), loop, end)
    for phi, first, following in zip((left, *turns), (units, *buffers), (less, *after), strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(following, loop)
    ir.IRBuilder(end).ret_void()
