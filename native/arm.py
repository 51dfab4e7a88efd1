"""The search lowered to the SHA instructions of ARM: one makes the next a to d four rounds on, one the next e to h.

Registers hold four words, written lowest first; the state is two of them, abcd and efgh. Nothing is gained by leaving
out the three rounds in front of the nonce, which four rounds at a time do as fast.
Source: Arm Architecture Reference Manual for A-profile, SHA256H, SHA256H2, SHA256SU0, SHA256SU1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeVar

from llvmlite import ir

from native.lowering import I32, Memory, call
from native.sha256 import IV, ROUNDS, VERDICT_ROUND, Integers, K, digest_block, header_block
from native.streams import QUAD, Streams
from native.symbolic import MIDSTATE_WORDS, TAIL_WORDS, Layout, Tally
from native.word import Program

VERDICT_PLACE = ROUNDS - 1 - VERDICT_ROUND  # e after the verdict's round is h three rounds later
_INTEGERS = Integers()

Q = TypeVar("Q")


class Quads(Protocol[Q]):
    """Registers of four words, and what the SHA instructions do with them."""

    def quad(self, words: Sequence[int]) -> Q: ...
    def add(self, a: Q, b: Q) -> Q: ...
    def next_abcd(self, abcd: Q, efgh: Q, keyed: Q) -> Q: ...
    def next_efgh(self, efgh: Q, abcd: Q, keyed: Q) -> Q: ...
    def extend(self, a: Q, b: Q) -> Q:
        """Four words of the schedule and the four after them: w[t] + sigma0(w[t + 1])."""

    def complete(self, partial: Q, before: Q, last: Q) -> Q:
        """The next four words: `partial` plus w[t + 9] and sigma1(w[t + 14]), from `before`, `last` and itself."""


def message(quads: Quads[Q], block: Sequence[Q]) -> Iterator[Q]:
    """What the rounds add, four at a time, from a block of four registers."""
    w = list(block)
    for n in range(ROUNDS // 4):
        if n >= len(w):
            w.append(quads.complete(quads.extend(w[n - 4], w[n - 3]), w[n - 2], w[n - 1]))
        yield quads.add(w[n], quads.quad(K[4 * n : 4 * n + 4]))


def header_message(quads: Quads[Q], first: Q) -> Iterator[Q]:
    """The message of the header's second block; first: its first four words."""
    block = header_block(_INTEGERS, [0] * TAIL_WORDS, 0)
    return message(quads, [first, *(quads.quad(block[n : n + 4]) for n in (4, 8, 12))])


def compress(quads: Quads[Q], state: tuple[Q, Q], keyed: Iterable[Q]) -> tuple[Q, Q]:
    """Both halves of the state after all rounds, to which the old state has not been added."""
    abcd, efgh = state
    for words in keyed:
        abcd, efgh = quads.next_abcd(abcd, efgh, words), quads.next_efgh(efgh, abcd, words)
    return abcd, efgh


def verdict(quads: Quads[Q], midstate: tuple[Q, Q], keyed: Iterable[Q]) -> Q:
    """A register of which one word is e after the last round that counts, from the header's message."""
    digest = [quads.add(old, new) for old, new in zip(midstate, compress(quads, midstate, keyed), strict=True)]
    padding = digest_block(_INTEGERS, [0] * 8)[8:]
    block = [*digest, quads.quad(padding[:4]), quads.quad(padding[4:])]
    return compress(quads, (quads.quad(IV[:4]), quads.quad(IV[4:])), message(quads, block))[1]


class Neon:
    """Quads in LLVM IR."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder

    def quad(self, words: Sequence[int]) -> ir.Value:
        return ir.Constant(QUAD, list(words))

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.add(a, b)

    def next_abcd(self, abcd: ir.Value, efgh: ir.Value, keyed: ir.Value) -> ir.Value:
        return call(self._builder, "llvm.aarch64.crypto.sha256h", QUAD, [abcd, efgh, keyed])

    def next_efgh(self, efgh: ir.Value, abcd: ir.Value, keyed: ir.Value) -> ir.Value:
        return call(self._builder, "llvm.aarch64.crypto.sha256h2", QUAD, [efgh, abcd, keyed])

    def extend(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return call(self._builder, "llvm.aarch64.crypto.sha256su0", QUAD, [a, b])

    def complete(self, partial: ir.Value, before: ir.Value, last: ir.Value) -> ir.Value:
        return call(self._builder, "llvm.aarch64.crypto.sha256su1", QUAD, [partial, before, last])


class Arm(Streams):
    """A lowering: schedule and rounds in ARM's SHA instructions."""

    __slots__ = ()
    sse_encodings = False

    def layout(self) -> Layout:
        return arm_layout()

    def message(self, builder: ir.IRBuilder, params: Memory, nonce: ir.Value) -> Iterator[ir.Value]:
        first = builder.insert_element(params.load(QUAD, MIDSTATE_WORDS), nonce, I32(TAIL_WORDS))
        return header_message(Neon(builder), first)

    def last_e(self, builder: ir.IRBuilder, params: Memory, message: Memory) -> ir.Value:
        midstate = params.load(QUAD, 0), params.load(QUAD, 4)
        keyed = (message.load(QUAD, n, 16) for n in range(0, ROUNDS, 4))
        return builder.extract_element(verdict(Neon(builder), midstate, keyed), I32(VERDICT_PLACE))


@cache
def arm_layout() -> Layout:
    """The parameter block: the midstate, the tail."""
    program = Program(MIDSTATE_WORDS + TAIL_WORDS)
    shared: Any = Tally()
    own: Any = Tally()
    verdict(own, (own, own), [own for _ in header_message(shared, shared)])
    return Layout(program, program.inputs, shared.operations(), own.operations())
