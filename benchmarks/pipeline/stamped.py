"""A compiled scan that notes when it begins, also where no Python runs beside it.

The time stands in the last of the room for hits: only for scans that find nothing.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import replace
from typing import Any

import numpy as np
from llvmlite import ir

import native
from backends.cpu.search import Words
from native.loop import SCAN
from native.lowering import I32, I64
from native.object_code import compiled

_CLOCK = ir.FunctionType(I32, [I32, I64.as_pointer()])  # clock_gettime(which, seconds and nanoseconds)


def stamped(kernel: native.Kernel) -> native.Kernel:
    """The kernel, its scans stamped."""
    single, several = (_stamped(x) for x in (kernel.run_scan, kernel.run_several))
    return replace(kernel, run_scan=single, run_several=several)


def begun_ns(hits: Words) -> int:
    """When the last scan with this room for hits began, on the clock of time.perf_counter_ns."""
    return int(hits[-1].view(np.int64)[0])


def _stamped(scan: Any) -> Any:
    def emit(function: ir.Function) -> None:
        hits, room = function.args[4:6]
        builder = ir.IRBuilder(function.append_basic_block())
        now = builder.alloca(I64, 2)
        clock = builder.inttoptr(I64(_address(ctypes.CDLL(None).clock_gettime)), _CLOCK.as_pointer())
        builder.call(clock, [I32(time.CLOCK_MONOTONIC), now])
        seconds, rest = builder.load(now), builder.load(builder.gep(now, [I64(1)]))
        last = builder.gep(hits, [builder.mul(builder.sub(room, I64(1)), I64(2))])
        nanoseconds = builder.add(builder.mul(seconds, I64(10**9)), rest)
        builder.store(nanoseconds, builder.bitcast(last, I64.as_pointer()))
        builder.ret(builder.call(builder.inttoptr(I64(_address(scan)), SCAN.as_pointer()), function.args))

    stamping = compiled("stamped", SCAN, emit, native.host_features())
    stamping.scan = scan  # type: ignore[attr-defined] # which takes its code along when it goes
    return stamping


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0
