"""What the scan asks of a lowering: how the search is turned into the instructions of some kind of processor.

The scan walks through units, one for each version of each batch of `lanes` nonces:

    shared   once per batch: what all versions of a header have in common, left in scratch memory
    own      once per unit: whether there are hits
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llvmlite import ir

from native.symbolic import Layout

I32 = ir.IntType(32)
I64 = ir.IntType(64)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: Sequence[ir.Value]) -> ir.Value:
    """Call one of LLVM's intrinsic functions."""
    function = builder.module.globals.get(name)
    if function is None:
        function = ir.Function(builder.module, ir.FunctionType(result, [x.type for x in arguments]), name)
    return builder.call(function, arguments)


class Memory:
    """Words that one part of a search leaves for another, from an address that is a multiple of 64 on."""

    def __init__(self, builder: ir.IRBuilder, address: ir.Value) -> None:
        self._builder = builder
        self.address = address

    def beyond(self, offset: ir.Value) -> Memory:
        """The memory from this offset on, in words."""
        return Memory(self._builder, self._builder.gep(self.address, [offset]))

    def load(self, kind: ir.Type, offset: int, align: int = 4) -> ir.Value:
        """What is at this offset, in words; `align` in bytes."""
        value = self._builder.load(self._at(kind, offset))
        value.align = align
        return value

    def store(self, value: ir.Value, offset: int, align: int = 4) -> None:
        self._builder.store(value, self._at(value.type, offset)).align = align

    def words(self, count: int) -> list[ir.Value]:
        """The first so many words."""
        return [self.load(I32, n) for n in range(count)]

    def fill(self, words: Iterable[ir.Value]) -> None:
        """Make these the first words."""
        for n, word in enumerate(words):
            self.store(word, n)

    def _at(self, kind: ir.Type, offset: int) -> ir.Value:
        return self._builder.bitcast(self._builder.gep(self.address, [I64(offset)]), kind.as_pointer())


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit's surroundings.

    first: the batch's first nonce, a 32-bit multiple of `lanes`. turn: the units before this one, in 64 bits.
    earlier: the parameters of the unit before this one.
    """

    first: ir.Value
    turn: ir.Value
    params: Memory
    earlier: Memory
    scratch: Memory


class Lowering(Protocol):
    """Emits LLVM IR.

    lanes: a power of two up to 32. scratch_words: the size of the scratch memory, which `own` finds as the unit before
    left it. delay: how many units later `own` gives a unit's answer.
    """

    @property
    def lanes(self) -> int: ...
    @property
    def delay(self) -> int: ...
    @property
    def scratch_words(self) -> int: ...
    @property
    def sse_encodings(self) -> bool: ...

    def layout(self) -> Layout: ...

    def emit_shared(self, builder: ir.IRBuilder, unit: Unit) -> None:
        """Begin a batch."""

    def emit_own(self, builder: ir.IRBuilder, unit: Unit) -> ir.Value:
        """Test a batch under one version: 32 bits, of which the lowest `lanes` say which nonces are hits."""
