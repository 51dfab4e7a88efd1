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

from native import streams
from native.lowering import I32, Memory
from native.sha256 import IV, ROUNDS, VERDICT_ROUND
from native.streams import QUAD, Registers, Streams, digest_message, header_message
from native.symbolic import MIDSTATE_WORDS, TAIL_WORDS, Layout, Tally
from native.word import Program

VERDICT_PLACE = ROUNDS - 1 - VERDICT_ROUND  # e after the verdict's round is h three rounds later

Q = TypeVar("Q")


class Quads(streams.Quads[Q], Protocol[Q]):
    """What the SHA instructions do with registers of four words."""

    def next_abcd(self, abcd: Q, efgh: Q, keyed: Q) -> Q: ...
    def next_efgh(self, efgh: Q, abcd: Q, keyed: Q) -> Q: ...
    def extend(self, a: Q, b: Q) -> Q:
        """Four words of the schedule and the four after them: w[t] + sigma0(w[t + 1])."""

    def complete(self, partial: Q, before: Q, last: Q) -> Q:
        """The next four words: `partial` plus w[t + 9] and sigma1(w[t + 14]), from `before`, `last` and itself."""


def following(quads: Quads[Q], w: Sequence[Q]) -> Q:
    """The next four words of a schedule, from the sixteen before."""
    a, b, c, d = w
    return quads.complete(quads.extend(a, b), c, d)


def compress(quads: Quads[Q], state: tuple[Q, Q], keyed: Iterable[Q]) -> tuple[Q, Q]:
    """Both halves of the state after all rounds, to which the old state has not been added."""
    abcd, efgh = state
    for words in keyed:
        abcd, efgh = quads.next_abcd(abcd, efgh, words), quads.next_efgh(efgh, abcd, words)
    return abcd, efgh


def verdict(quads: Quads[Q], midstate: tuple[Q, Q], keyed: Iterable[Q]) -> Q:
    """A register of which one word is e after the last round that counts, from the header's message."""
    digest = [quads.add(old, new) for old, new in zip(midstate, compress(quads, midstate, keyed), strict=True)]
    initial = quads.quad(IV[:4]), quads.quad(IV[4:])
    return compress(quads, initial, digest_message(quads, following, digest))[1]


class Neon(Registers):
    """Quads in LLVM IR."""

    def next_abcd(self, abcd: ir.Value, efgh: ir.Value, keyed: ir.Value) -> ir.Value:
        return self._call("llvm.aarch64.crypto.sha256h", abcd, efgh, keyed)

    def next_efgh(self, efgh: ir.Value, abcd: ir.Value, keyed: ir.Value) -> ir.Value:
        return self._call("llvm.aarch64.crypto.sha256h2", efgh, abcd, keyed)

    def extend(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._call("llvm.aarch64.crypto.sha256su0", a, b)

    def complete(self, partial: ir.Value, before: ir.Value, last: ir.Value) -> ir.Value:
        return self._call("llvm.aarch64.crypto.sha256su1", partial, before, last)


class Arm(Streams):
    """A lowering: schedule and rounds in ARM's SHA instructions."""

    sse_encodings = False

    def layout(self) -> Layout:
        return arm_layout()

    def message(self, builder: ir.IRBuilder, params: Memory, nonce: ir.Value) -> Iterator[ir.Value]:
        first = builder.insert_element(params.load(QUAD, MIDSTATE_WORDS), nonce, I32(TAIL_WORDS))
        return header_message(Neon(builder), following, first)

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
    verdict(own, (own, own), [own for _ in header_message(shared, following, shared)])
    return Layout(program, program.inputs, shared.operations(), own.operations())
