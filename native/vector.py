"""The search lowered to LLVM vectors: as many nonces at once as a vector has lanes, or one in a plain register."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from native.symbolic import layout, search_word

I32 = ir.IntType(32)
I64 = ir.IntType(64)

# Truth tables of AVX-512's ternary logic, operands weighted 4, 2, 1 (Intel SDM, VPTERNLOGD).
_XOR3, _CHOOSE, _MAJORITY = 0x96, 0xCA, 0xE8


class Lanes:
    """A metal of `lanes` 32-bit words side by side; one lane is a plain 32-bit integer.

    ternary: the target has AVX-512's ternary logic at this width. LLVM would use it unasked, but takes two of them for
    a majority. load: gives the 32-bit value of a slot of the parameter block.
    """

    def __init__(self, builder: ir.IRBuilder, lanes: int, *, ternary: bool, load: Callable[[int], ir.Value]) -> None:
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

    def at_most(self, x: ir.Value, bound: ir.Value) -> ir.Value:
        """One bit per lane, in a 32-bit value: whether x <= bound."""
        bits = self._builder.icmp_unsigned("<=", x, bound)
        if self._lanes > 1:
            bits = self._builder.bitcast(bits, ir.IntType(self._lanes))
        return bits if self._lanes == I32.width else self._builder.zext(bits, I32)

    def _logic(self, table: int, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        return self._call(f"llvm.x86.avx512.pternlog.d.{32 * self._lanes}", [a, b, c, I32(table)])

    def _call(self, name: str, arguments: list[ir.Value]) -> ir.Value:
        module = self._builder.module
        function = module.globals.get(name)
        if function is None:
            function = ir.Function(module, ir.FunctionType(self.type, [x.type for x in arguments]), name)
        return self._builder.call(function, arguments)


def emit_search(
    builder: ir.IRBuilder, lanes: int, first: ir.Value, load: Callable[[int], ir.Value], *, ternary: bool
) -> ir.Value:
    """Test the nonces first .. first + lanes - 1; one bit per lane, the lowest for `first`, says which are hits.

    first: a 32-bit value, a multiple of `lanes`, itself a power of two up to 32.
    """
    metal = Lanes(builder, lanes, ternary=ternary, load=load)
    found = search_word(metal, metal.nonces(first))
    return metal.at_most(metal.swap_bytes(found), metal.slot(layout().target_slot))
