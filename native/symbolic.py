"""The nonce search as a partial evaluation of the double SHA-256, with the nonce as its only varying word.

Whatever the nonce does not reach (the first three rounds, the first schedule words, every constant) leaves the search
for the parameter block; `sha256.last_word` leaves out what comes after the verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from itertools import islice
from typing import Any, Generic, TypeVar

from native.sha256 import IV, ROUNDS, Algebra, digest_block, header_block, last_word, message, state_after
from native.word import Metal, Program, Symbolic, Term, Uniform, Word

MIDSTATE_WORDS = 8
TAIL_WORDS = 3  # header bytes 64..75: the end of the merkle root, the time, the compact target

V = TypeVar("V")
W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Operations:
    """What one nonce costs, in operations on 32-bit words and in SHA instructions; the parameter block not counted."""

    add: int = 0
    rotate: int = 0
    shift: int = 0
    xor3: int = 0
    choose: int = 0
    majority: int = 0
    round_pairs: int = 0  # instructions that do two rounds
    extensions: int = 0  # instructions towards the next four words of a schedule
    unpack: int = 0  # of words that change from columns to rows

    @property
    def total(self) -> int:
        """Operations on a machine that rotates, and takes any function of three words, in one: AVX-512, GPUs."""
        return sum(astuple(self))

    def __add__(self, other: Operations) -> Operations:
        return Operations(*map(sum, zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class Layout:
    """The parameter block: which term of the job's program stands in which slot; the target's word comes last.

    shared: what a nonce costs once for all versions; own: what it costs for each.
    """

    program: Program
    terms: tuple[Term, ...]
    shared: Operations
    own: Operations

    @property
    def target_slot(self) -> int:
        return len(self.terms)

    @property
    def slots(self) -> int:
        return len(self.terms) + 1

    def fill(self, algebra: Algebra[W], midstate: Sequence[W], tail: Sequence[W]) -> list[W]:
        """The words of all slots but the target's, from 8 words of midstate and 3 of tail."""
        return self.program.run(algebra, [*midstate, *tail], self.terms)


class Search(Generic[V]):
    """The double hash of a header, cut in two: the message that the nonce makes, then the hash under a midstate.

    The message is the same for every version, so that several share it. Terms belong to the program that made them.
    """

    def __init__(self, metal: Metal[V], program: Program, slots: Sequence[Term] = ()) -> None:
        self.symbolic = Symbolic(program, metal, slots)
        known = [Word[V](uniform=term) for term in program.inputs]
        self.midstate, self._tail = known[:MIDSTATE_WORDS], known[MIDSTATE_WORDS:]

    def header_message(self, nonce: V, first: int = 0) -> Iterator[Word[V]]:
        """What the header's rounds add, from round `first` on; `nonce` is byte-swapped, as SHA-256 reads it."""
        words = message(self.symbolic, header_block(self.symbolic, self._tail, Word(nonce)))
        return map(self.symbolic.shared, islice(words, first, None))

    def last_word(self, keyed: Iterable[Word[V]]) -> V:
        """The last word of the double hash, from a `header_message`."""
        symbolic = self.symbolic
        state = state_after(symbolic, self.midstate, keyed, ROUNDS)
        digest = [symbolic.add(old, new) for old, new in zip(self.midstate, state, strict=True)]
        initial = [symbolic.constant(x) for x in IV]
        return symbolic.settle(last_word(symbolic, initial, self.digest_message(digest)))

    def digest_message(self, digest: Sequence[Word[V]]) -> Iterator[Word[V]]:
        """What the rounds of the second hash add."""
        return message(self.symbolic, digest_block(self.symbolic, digest))


def header_words(program: Program) -> list[Uniform | None]:
    """The `header_message` as far as it does not depend on the nonce."""
    tally: Any = Tally()
    return [None if word.varying else word.uniform for word in Search(tally, program).header_message(tally)]


@cache
def layout() -> Layout:
    """The parameter block of the searches that expand every round into operations on words."""
    shared: Any = Tally()
    own: Any = Tally()
    first = Search(shared, Program(MIDSTATE_WORDS + TAIL_WORDS))
    program = first.symbolic.program
    words = list(first.header_message(shared))
    second = Search(own, program, first.symbolic.slots)
    second.last_word(Word(own) if word.varying else Word(uniform=word.uniform) for word in words)
    return Layout(program, tuple(second.symbolic.slots), shared.operations(), own.operations())


class Tally:
    """A metal that computes nothing and counts what it is asked for; it is its own only word."""

    _FREE = ("constant", "slot", "shared", "quad", "pick", "load", "store")  # where words lie or come from is no work

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def operations(self) -> Operations:
        return Operations(**self._counts)

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def count(*_: object, **_options: object) -> Tally:
            if operation not in self._FREE:
                self._counts[_KINDS.get(operation, operation)] += 1
            return self

        return count


_KINDS = {
    "two_rounds": "round_pairs",
    "next_abcd": "round_pairs",  # half of the state four rounds on
    "next_efgh": "round_pairs",
    "extend": "extensions",
    "complete": "extensions",
}
