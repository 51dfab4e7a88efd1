"""The round instruction of x86 as a function that any processor can run: the divided search is proven everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest
from llvmlite import ir

import native
from backends import kernels
from native import pairs, sha256
from native.lowering import I32
from native.streams import QUAD
from native.vector import Lanes

KERNELS = {"hybrid8"}


def load(candidate: kernels.Candidate) -> native.Kernel:
    """A kernel that this machine lacks nothing for but the SHA instructions, of which it uses the one for rounds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs.Sha, "two_rounds", two_rounds)
        return kernels.load(replace(candidate, unusable=None))


def two_rounds(sha: pairs.Sha, cdgh: ir.Value, abef: ir.Value, keyed: ir.Value) -> ir.Value:
    module = sha._builder.module
    function = module.globals.get("two_rounds") or _define(module)
    return sha._builder.call(function, [cdgh, abef, keyed])


def _define(module: ir.Module) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(QUAD, [QUAD] * 3), "two_rounds")
    function.linkage = "internal"
    function.attributes.add("noinline")
    builder = ir.IRBuilder(function.append_basic_block())
    cdgh, abef, keyed = ([builder.extract_element(x, I32(n)) for n in range(4)] for x in function.args)
    named = dict(zip(pairs.ABEF + pairs.CDGH, abef + cdgh, strict=True))
    after = sha256.state_after(Lanes(builder, 1), [named[n] for n in range(8)], keyed[:2], 2)
    result = ir.Constant(QUAD, ir.Undefined)
    for place, n in enumerate(pairs.ABEF):
        result = builder.insert_element(result, after[n], I32(place))
    builder.ret(result)
    return function
