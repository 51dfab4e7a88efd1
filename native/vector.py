"""The search lowered to LLVM vectors: as many nonces at once as a vector has lanes, or one in a plain register."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

from llvmlite import ir

from native.lowering import I32, Unit, call
from native.sha256 import IV, ROUNDS
from native.symbolic import Layout, Search, header_words, layout
from native.word import Word

# Truth tables of AVX-512's ternary logic, operands weighted 4, 2, 1 (Intel SDM, VPTERNLOGD).
_XOR3, _CHOOSE, _MAJORITY = 0x96, 0xCA, 0xE8


class Lanes:
    """A metal of `lanes` 32-bit words side by side; one lane is a plain 32-bit integer.

    ternary: the target has AVX-512's ternary logic at this width. LLVM would use it unasked, but takes two of them for
    a majority. load: gives the 32-bit value of a slot of the parameter block.
    """

    def __init__(
        self, builder: ir.IRBuilder, lanes: int, *, ternary: bool = False, load: Callable[[int], ir.Value] | None = None
    ) -> None:
        self._builder = builder
        self._lanes = lanes
        self._ternary = ternary
        self._load = load
        self._slots: dict[int, ir.Value] = {}
        self.type = I32 if lanes == 1 else ir.VectorType(I32, lanes)
        self._suffix = "i32" if lanes == 1 else f"v{lanes}i32"

    def constant(self, value: int) -> ir.Value:
        return ir.Constant(self.type, value if self._lanes == 1 else [value] * self._lanes)

    def slot(self, index: int) -> ir.Value:
        if index not in self._slots:
            assert self._load
            self._slots[index] = self.spread(self._load(index))
        return self._slots[index]

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.add(a, b)

    def rotate(self, x: ir.Value, right: int) -> ir.Value:
        return self._call("llvm.fshr." + self._suffix, [x, x, self.constant(right)])

    def shift(self, x: ir.Value, right: int) -> ir.Value:
        return self._builder.lshr(x, self.constant(right))

    def xor3(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        if self._ternary:
            return self._logic(_XOR3, a, b, c)
        return self._builder.xor(self._builder.xor(a, b), c)

    def choose(self, e: ir.Value, f: ir.Value, g: ir.Value) -> ir.Value:
        if self._ternary:
            return self._logic(_CHOOSE, e, f, g)
        return self._builder.xor(g, self._builder.and_(e, self._builder.xor(f, g)))

    def majority(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        if self._ternary:
            return self._logic(_MAJORITY, a, b, c)
        # b ^ c is the next round's a ^ b seen from its other end: LLVM computes it once.
        changed = self._builder.and_(self._builder.xor(a, b), self._builder.xor(b, c))
        return self._builder.xor(b, changed)

    def shared(self, x: ir.Value) -> ir.Value:
        return x

    def spread(self, scalar: ir.Value) -> ir.Value:
        """A 32-bit value in every lane."""
        if self._lanes == 1:
            return scalar
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self._builder.insert_element(undefined, scalar, I32(0))
        return self._builder.shuffle_vector(first, undefined, ir.Constant(self.type, [0] * self._lanes))

    def swap_bytes(self, x: ir.Value) -> ir.Value:
        return self._call("llvm.bswap." + self._suffix, [x])

    def nonces(self, first: ir.Value) -> ir.Value:
        """The byte-swapped nonces first, first + 1, ...; `first` is a multiple of the lane count.

        Being a multiple it leaves the low bits free for the lane's number, which swapping puts into the top byte.
        """
        words = self.swap_bytes(self.spread(first))
        if self._lanes == 1:
            return words
        return self._builder.or_(words, ir.Constant(self.type, [lane << 24 for lane in range(self._lanes)]))

    def hits(self, last_e: ir.Value, target: ir.Value) -> ir.Value:
        """One bit per lane, from e after the last round: whether the hash's most significant word is a hit."""
        return self.at_most(self.swap_bytes(self.add(last_e, self.constant(IV[7]))), self.spread(target))

    def at_most(self, x: ir.Value, bound: ir.Value) -> ir.Value:
        """One bit per lane, in a 32-bit value: whether x <= bound."""
        bits = self._builder.icmp_unsigned("<=", x, bound)
        if self._lanes > 1:
            bits = self._builder.bitcast(bits, ir.IntType(self._lanes))
        return bits if self._lanes == I32.width else self._builder.zext(bits, I32)

    def _logic(self, table: int, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self._call(f"llvm.x86.avx512.pternlog.d.{32 * self._lanes}", [a, b, c, I32(table)])

    def _call(self, name: str, arguments: list[ir.Value]) -> ir.Value:
        return call(self._builder, name, self.type, arguments)


@dataclass(frozen=True, slots=True)
class Vector:
    """A lowering: every round becomes operations on vectors.

    several: what versions share, the message of the header's second block, is computed once and left in memory. Worth
    it from two versions on; for one, that message is computed between the rounds, which then wait less for each other.
    """

    lanes: int
    ternary: bool = False
    several: bool = False
    delay = 0
    sse_encodings = False

    @property
    def scratch_words(self) -> int:
        return self.lanes * ROUNDS

    def layout(self) -> Layout:
        return layout()

    def emit_shared(self, builder: ir.IRBuilder, unit: Unit) -> None:
        if not self.several:
            return
        metal, search = self._search(builder, unit)
        words = (x.varying for x in search.header_message(metal.nonces(unit.first)))
        for place, word in enumerate(x for x in words if x is not None):
            unit.scratch.store(word, place * self.lanes, 4 * self.lanes)

    def emit_own(self, builder: ir.IRBuilder, unit: Unit) -> ir.Value:
        metal, search = self._search(builder, unit)
        message = self._stored(metal, unit) if self.several else search.header_message(metal.nonces(unit.first))
        found = search.last_word(message)
        return metal.at_most(metal.swap_bytes(found), metal.slot(layout().target_slot))

    def _stored(self, metal: Lanes, unit: Unit) -> Iterator[Word[ir.Value]]:
        places = count(step=self.lanes)
        for known in header_words(layout().program):
            if known is None:
                yield Word(unit.scratch.load(metal.type, next(places), 4 * self.lanes))
            else:
                yield Word(uniform=known)

    def _search(self, builder: ir.IRBuilder, unit: Unit) -> tuple[Lanes, Search[ir.Value]]:
        metal = Lanes(builder, self.lanes, ternary=self.ternary, load=lambda index: unit.params.load(I32, index))
        return metal, Search(metal, layout().program, layout().terms)
