"""A frame for lowerings that give each nonce registers of its own, several side by side to hide how long each takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from llvmlite import ir

from native.lowering import I32, I64, Memory, Unit
from native.sha256 import ROUNDS
from native.symbolic import Layout
from native.vector import Lanes
from native.weave import append, cut, weave

QUAD = ir.VectorType(I32, 4)


@dataclass(frozen=True, slots=True)
class Streams(ABC):
    """A lowering whose registers hold four words: the header's message first, then both hashes."""

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
