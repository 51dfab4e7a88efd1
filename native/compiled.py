"""Every search there is, by name, and its compiled functions."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

from native.arm import Arm
from native.features import Features
from native.hybrid import Hybrid
from native.loop import FILL, MIDSTATES, SCAN, emit_fill, emit_midstates, emit_scan
from native.lowering import Lowering
from native.object_code import Compiled, compiled
from native.pairs import Pairs
from native.scheduled import MANY, MANY_AVX2, MANY_NARROW, ONE, ONE_AVX2, ONE_NARROW, Scheduled
from native.vector import Vector

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


def compile_scan(features: Features, lowering: str, folder: Path | None) -> Compiled:
    """The scan of one lowering, a `native.loop.SCAN`. Raises CompilationError."""
    emit = partial(emit_scan, lowering=LOWERINGS[lowering], avx="avx" in features.present)
    return compiled("scan", SCAN, emit, features, folder)


@cache
def compile_midstates(features: Features, folder: Path | None) -> Compiled:
    """A `native.loop.MIDSTATES`. Raises CompilationError."""
    return compiled("midstates", MIDSTATES, emit_midstates, features, folder)


def compile_fill(features: Features, lowering: str, folder: Path | None) -> Compiled:
    """A `native.loop.FILL` for the lowering's layout. Raises CompilationError."""
    return compiled("fill", FILL, partial(emit_fill, layout=LOWERINGS[lowering].layout()), features, folder)
