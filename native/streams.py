"""A frame for lowerings to SHA instructions: registers of four words, written lowest first, each nonce with its own.

Messages are extended four words at a time. Several nonces side by side hide how long each instruction takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from llvmlite import ir

from native.lowering import I32, I64, Memory, Unit, call
from native.sha256 import ROUNDS, Integers, K, digest_block, header_block
from native.symbolic import TAIL_WORDS, Layout
from native.vector import Lanes
from native.weave import append, cut, weave

QUAD = ir.VectorType(I32, 4)
_INTEGERS = Integers()

Q = TypeVar("Q")


class Quads(Protocol[Q]):
    """Registers of four words."""

    def quad(self, words: Sequence[int]) -> Q: ...
    def add(self, a: Q, b: Q) -> Q: ...


# The next four words of a schedule, from the sixteen before and the quads, of which it asks more than is asked here.
Following = Callable[[Any, Sequence[Q]], Q]


def header_message(quads: Quads[Q], following: Following[Q], first: Q) -> Iterator[Q]:
    """What the rounds of the header's second block add, four at a time; first: its first four words."""
    block = header_block(_INTEGERS, [0] * TAIL_WORDS, 0)
    return _message(quads, following, [first, *(quads.quad(block[n : n + 4]) for n in (4, 8, 12))])


def digest_message(quads: Quads[Q], following: Following[Q], digest: Sequence[Q]) -> Iterator[Q]:
    """What the rounds of the second hash add."""
    padding = digest_block(_INTEGERS, [0] * 8)[8:]
    return _message(quads, following, [*digest, quads.quad(padding[:4]), quads.quad(padding[4:])])


def _message(quads: Quads[Q], following: Following[Q], block: Sequence[Q]) -> Iterator[Q]:
    w = list(block)
    for n in range(ROUNDS // 4):
        if n >= len(w):
            w.append(following(quads, w[-4:]))
        yield quads.add(w[n], quads.quad(K[4 * n : 4 * n + 4]))


class Registers:
    """Quads in LLVM IR."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder

    def quad(self, words: Sequence[int]) -> ir.Value:
        return ir.Constant(QUAD, list(words))

    def add(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.add(a, b)

    def _call(self, name: str, *arguments: ir.Value) -> ir.Value:
        return call(self._builder, name, QUAD, arguments)


@dataclass(frozen=True, slots=True)
class Streams(ABC):
    """A lowering: the header's message first, then both hashes."""

    lanes: int
    delay = 0

    @property
    def scratch_words(self) -> int:
        return self.lanes * ROUNDS

    @abstractmethod
    def layout(self) -> Layout: ...

    @abstractmethod
    def message(self, builder: ir.IRBuilder, params: Memory, nonce: ir.Value) -> Iterable[ir.Value]:
        """What the header's rounds add under a nonce, four at a time."""

    @abstractmethod
    def last_e(self, builder: ir.IRBuilder, params: Memory, message: Memory) -> ir.Value:
        """The word e after the last round that counts."""

    def emit_shared(self, builder: ir.IRBuilder, unit: Unit) -> None:
        nonces = Lanes(builder, self.lanes).nonces(unit.first)

        def stream(lane: int) -> None:
            message = self.message(builder, unit.params, builder.extract_element(nonces, I32(lane)))
            for n, keyed in enumerate(message):
                unit.scratch.store(keyed, lane * ROUNDS + 4 * n, 16)

        self._side_by_side(builder, stream)

    def emit_own(self, builder: ir.IRBuilder, unit: Unit) -> ir.Value:
        lanes = Lanes(builder, self.lanes)
        words: list[ir.Value] = []

        def stream(lane: int) -> None:
            message = unit.scratch.beyond(I64(lane * ROUNDS))
            words.append(self.last_e(builder, unit.params, message))

        self._side_by_side(builder, stream)
        last_e = ir.Constant(lanes.type, ir.Undefined)
        for lane, word in enumerate(words):
            last_e = builder.insert_element(last_e, word, I32(lane))
        return lanes.hits(last_e, unit.params.load(I32, self.layout().target_slot))

    def _side_by_side(self, builder: ir.IRBuilder, stream: Callable[[int], None]) -> None:
        streams = [cut(builder, partial(stream, lane)) for lane in range(self.lanes)]
        append(builder, weave(streams, lambda instruction: int(instruction.opname == "call")))
