"""The nonce search as a partial evaluation of the double SHA-256, with the nonce as its only varying word.

Whatever the nonce does not reach (the first three rounds, the first schedule words, every constant) leaves the search
for the parameter block; `sha256.last_word` leaves out what comes after the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from native.sha256 import Algebra, double_hash_last_word
from native.word import Metal, Program, Symbolic, Term, Word

MIDSTATE_WORDS = 8
TAIL_WORDS = 3  # header bytes 64..75: the end of the merkle root, the time, the compact target

V = TypeVar("V")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Operations:
    """What one nonce costs under one midstate, in operations on 32-bit words, the parameter block not counted."""

    add: int
    rotate: int
    shift: int
    xor3: int
    choose: int
    majority: int

    @property
    def total(self) -> int:
        """Operations on a machine that rotates, and takes any function of three words, in one: AVX-512, GPUs."""
        return self.add + self.rotate + self.shift + self.xor3 + self.choose + self.majority

    @property
    def two_operand_total(self) -> int:
        """Operations on a machine with two-operand logic and no rotation: AVX2, SSE, NEON.

        A rotation is two shifts and an or, Ch three operations, and so is Maj, sharing an exclusive or with its
        neighbour round.
        """
        return self.add + 3 * self.rotate + self.shift + 2 * self.xor3 + 3 * (self.choose + self.majority)


@dataclass(frozen=True, slots=True)
class Layout:
    """The parameter block: which term of the job's program stands in which slot; the target's word comes last."""

    program: Program
    terms: tuple[Term, ...]
    operations: Operations

    @property
    def target_slot(self) -> int:
        return len(self.terms)

    @property
    def slots(self) -> int:
        return len(self.terms) + 1

    def fill(self, algebra: Algebra[W], midstate: Sequence[W], tail: Sequence[W]) -> list[W]:
        """The words of all slots but the target's, from 8 words of midstate and 3 of tail."""
        return self.program.run(algebra, [*midstate, *tail], self.terms)


def search_word(metal: Metal[V], nonce: V) -> V:
    """Have the metal compute the last word of the hash of every nonce; `nonce` is byte-swapped, as SHA-256 reads it."""
    return _search(metal, nonce)[1]


@cache
def layout() -> Layout:
    """The parameter block that every lowering of the search reads."""
    tally = _Tally()
    symbolic, _ = _search(tally, tally)
    return Layout(symbolic.program, tuple(symbolic.slots), Operations(**tally.counts))


def count_operations() -> Operations:
    """What the search asks of the metal, counted as it is emitted."""
    return layout().operations


def _search(metal: Metal[V], nonce: V) -> tuple[Symbolic[V], V]:
    program = Program(MIDSTATE_WORDS + TAIL_WORDS)
    symbolic = Symbolic(program, metal)
    known = [Word[V](uniform=term) for term in program.inputs]
    found = double_hash_last_word(symbolic, known[:MIDSTATE_WORDS], known[MIDSTATE_WORDS:], Word(nonce))
    return symbolic, symbolic.settle(found)


class _Tally:
    """A metal that computes nothing and counts; it is its own only word."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def constant(self, value: int) -> _Tally:  # noqa: ARG002
        return self

    def slot(self, index: int) -> _Tally:  # noqa: ARG002
        return self

    def add(self, *_: _Tally) -> _Tally:
        return self._count("add")

    def rotate(self, x: _Tally, right: int) -> _Tally:  # noqa: ARG002
        return self._count("rotate")

    def shift(self, x: _Tally, right: int) -> _Tally:  # noqa: ARG002
        return self._count("shift")

    def xor3(self, *_: _Tally) -> _Tally:
        return self._count("xor3")

    def choose(self, *_: _Tally) -> _Tally:
        return self._count("choose")

    def majority(self, *_: _Tally) -> _Tally:
        return self._count("majority")

    def shared(self, x: _Tally) -> _Tally:
        return x

    def _count(self, operation: str) -> _Tally:
        self.counts[operation] += 1
        return self
