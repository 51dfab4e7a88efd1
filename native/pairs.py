"""The search lowered to the SHA instructions of x86: two rounds each, on half of the state.

Registers hold four words, written lowest first. The state is two of them, abef = [f, e, b, a] and cdgh = [h, g, d, c];
two rounds make the next abef, and what was abef is the next cdgh. Several nonces at once hide the latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any, Protocol, TypeVar

from llvmlite import ir

from native import streams
from native.lowering import I32, I64, Memory
from native.sha256 import IV, ROUNDS, VERDICT_ROUND, header_block, message, state_after
from native.streams import QUAD, Registers, Streams, digest_message, header_message
from native.symbolic import MIDSTATE_WORDS, TAIL_WORDS, Layout, Tally, header_words
from native.word import Program, Term, Uniform

ABEF, CDGH = (5, 4, 1, 0), (7, 6, 3, 2)  # which of the words a to h
FIRST_PAIR = 1  # rounds 0 and 1 know nothing of the nonce
VERDICT_PAIR = VERDICT_ROUND // 2
VERDICT_PLACE = VERDICT_ROUND % 2  # e after the verdict's round, in abef; f if the pair did one more
_HALVES = ir.VectorType(I64, 2)
_START, _OLD, _TAIL = 0, 8, 16  # in the parameter block

Q = TypeVar("Q")


class Rounds(Protocol[Q]):
    """The instruction for the rounds."""

    def two_rounds(self, cdgh: Q, abef: Q, keyed: Q) -> Q:
        """The next abef, by the two lowest words of `keyed`."""


class Quads(streams.Quads[Q], Rounds[Q], Protocol[Q]):
    """What the SHA instructions do with registers of four words."""

    def extend(self, a: Q, b: Q) -> Q:
        """Four words of the schedule and the four after them: w[t] + sigma0(w[t + 1])."""

    def complete(self, partial: Q, last: Q) -> Q:
        """The next four words: `partial` plus sigma1 of the words two places before."""

    def pick(self, a: Q, b: Q, places: Sequence[int]) -> Q:
        """Four of the eight words of a and b."""


def run_pairs(quads: Rounds[Q], abef: Q, cdgh: Q, keyed: Iterable[Q]) -> tuple[Q, Q]:
    """Both halves of the state after two rounds for each of `keyed`."""
    for words in keyed:
        abef, cdgh = quads.two_rounds(cdgh, abef, words), abef
    return abef, cdgh


def header_pairs(quads: Quads[Q], program: Program, load: Callable[[int], Q]) -> Iterator[Q]:
    """What the rounds of the header's second block add, pair by pair; `load` has what is no constant."""
    words = header_words(program)
    for pair in range(FIRST_PAIR, ROUNDS // 2):
        known = [word for word in words[2 * pair : 2 * pair + 2] if isinstance(word, int)]
        yield quads.quad([*known, 0, 0]) if len(known) == 2 else load(pair)


def start_terms(program: Program, rounds: int) -> list[Uniform]:
    """The state after the header's first rounds as [*abef, *cdgh], for a nonce whose word is 0.

    Up to three rounds it is that of every nonce; with the fourth the nonce's word is to be added to a and e.
    """
    known = list(program.inputs)
    block = header_block(program, known[MIDSTATE_WORDS:], 0)
    state = state_after(program, known[:MIDSTATE_WORDS], message(program, block), rounds)
    return [state[n] for n in ABEF + CDGH]


def following(quads: Quads[Q], w: Sequence[Q]) -> Q:
    """The next four words of a schedule, from the sixteen before."""
    a, b, c, d = w
    return quads.complete(quads.add(quads.extend(a, b), quads.pick(c, d, (1, 2, 3, 4))), d)


def verdict_quad(quads: Quads[Q], abef: Q, cdgh: Q) -> Q:
    """The digest of the header as both halves of a state; a register of which one word is e after the last round."""
    digest = [quads.pick(abef, cdgh, (3, 2, 7, 6)), quads.pick(abef, cdgh, (1, 0, 5, 4))]
    keyed = digest_message(quads, following, digest)
    halves = (half for words in keyed for half in (words, quads.pick(words, words, (2, 3, 2, 3))))
    abef, cdgh = (quads.quad([IV[n] for n in half]) for half in (ABEF, CDGH))
    return run_pairs(quads, abef, cdgh, islice(halves, VERDICT_PAIR + 1))[0]


class Sha(Registers):
    """Quads in LLVM IR."""

    def two_rounds(self, cdgh: ir.Value, abef: ir.Value, keyed: ir.Value) -> ir.Value:
        return self._call("llvm.x86.sha256rnds2", cdgh, abef, keyed)

    def extend(self, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._call("llvm.x86.sha256msg1", a, b)

    def complete(self, partial: ir.Value, last: ir.Value) -> ir.Value:
        return self._call("llvm.x86.sha256msg2", partial, last)

    def pick(self, a: ir.Value, b: ir.Value, places: Sequence[int]) -> ir.Value:
        return self._builder.shuffle_vector(a, b, self.quad(places))

    def low_half(self, pair: ir.Value) -> ir.Value:
        """Two words in 64 bits as the lowest of a register."""
        return self._builder.bitcast(self._builder.insert_element(ir.Constant(_HALVES, [0, 0]), pair, I32(0)), QUAD)


class Pairs(Streams):
    """A lowering: schedule and rounds in the SHA instructions of x86."""

    sse_encodings = True

    def layout(self) -> Layout:
        return pairs_layout()

    def message(self, builder: ir.IRBuilder, params: Memory, nonce: ir.Value) -> Iterator[ir.Value]:
        first = builder.insert_element(params.load(QUAD, _TAIL), nonce, I32(TAIL_WORDS))
        return header_message(Sha(builder), following, first)

    def last_e(self, builder: ir.IRBuilder, params: Memory, message: Memory) -> ir.Value:
        sha = Sha(builder)
        abef, cdgh = params.load(QUAD, _START), params.load(QUAD, _START + 4)
        keyed = header_pairs(sha, self.layout().program, lambda pair: sha.low_half(message.load(I64, 2 * pair, 8)))
        after = run_pairs(sha, abef, cdgh, keyed)
        digest = [sha.add(new, params.load(QUAD, n)) for new, n in zip(after, (_OLD, _OLD + 4), strict=True)]
        return builder.extract_element(verdict_quad(sha, *digest), I32(VERDICT_PLACE))


@cache
def pairs_layout() -> Layout:
    """The parameter block: the state in front of FIRST_PAIR, the midstate, the tail."""
    program = Program(MIDSTATE_WORDS + TAIL_WORDS)
    midstate, tail = program.inputs[:MIDSTATE_WORDS], program.inputs[MIDSTATE_WORDS:]
    terms = [x for x in start_terms(program, 2 * FIRST_PAIR) if isinstance(x, Term)]
    shared: Any = Tally()
    own: Any = Tally()
    list(header_message(shared, following, shared))
    after = run_pairs(own, own, own, header_pairs(own, program, lambda _: own))
    verdict_quad(own, *(own.add(half) for half in after))
    return Layout(program, (*terms, *(midstate[n] for n in ABEF + CDGH), *tail), shared.operations(), own.operations())
