"""The search divided between two parts of the processor: schedules in vectors, rounds in SHA instructions.

A unit, eight nonces under one version, passes through a pipeline. While the SHA instructions do its rounds, the vectors
prepare the message of another unit, so that nothing in a unit waits for anything else in it:

    header message   nonces -> what 60 rounds add   of the next batch, or once for all versions of a batch
    header rounds    message -> digests             of this unit
    digest message   digests -> what 60 rounds add  of the unit before
    digest rounds    message -> verdicts            of the one before that

Vectors hold one word of eight nonces, SHA instructions four words of one: messages are written down in pairs of words
for each nonce, and the quads of four nonces are turned into columns, by instructions that interleave two vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any, Protocol, TypeVar

from llvmlite import ir

from native.lowering import I32, I64, Memory, Unit
from native.pairs import ABEF, CDGH, Sha, run_pairs, start_terms
from native.sha256 import IV, Integers, digest_block, message, state_after
from native.streams import QUAD
from native.symbolic import MIDSTATE_WORDS, TAIL_WORDS, Layout, Search, Tally
from native.vector import Lanes
from native.weave import append, cut, weave
from native.word import Metal, Program, Term, Uniform, Word

LANES = 8
PAIRS = 30  # of rounds, for either hash
# The rounds in front of them, after which the word that varies has been added to a and e and to nothing else: the
# nonce, which is the header's word 3, and the digest's word 0.
HEADER_START, DIGEST_START = 4, 1

START = 0  # in the parameter block: both halves of the state after HEADER_START rounds

# A unit's memory, in words: two vectors for each pair of rounds, quads, then whatever registers cannot hold. Units take
# turns with two such memories, so that the next can read what this one writes.
MESSAGE, STARTS, DIGESTS, VERDICTS, FIRST, NONCES, SPILLS = 0, 512, 544, 608, 624, 632, 640
UNIT_WORDS, MESSAGE_WORDS = 1216, 512

V = TypeVar("V")
Q = TypeVar("Q")


class Columns(Metal[V], Protocol[V]):
    """Vectors of eight words in two halves, and memory, whose places are in words."""

    def load(self, place: int) -> V: ...
    def store(self, value: V, place: int) -> None: ...
    def unpack(self, a: V, b: V, width: int, *, high: bool) -> V:
        """Of each half the lower or higher half, items of `width` bits from a and b in turn."""


def pair_place(nonce: int) -> int:
    """Where the two words of a nonce lie among those that unpacking makes of two vectors."""
    half, place = divmod(nonce, 4)
    return 8 * (place // 2) + 4 * half + 2 * (place % 2)


def quad_place(nonce: int) -> int:
    """Where the quad of a nonce lies: rows of the nonces n and n + 4."""
    return 8 * (nonce % 4) + 4 * (nonce // 4)


def transposed(columns: Columns[V], rows: Sequence[V]) -> Iterator[V]:
    """Four rows of quads as the columns of their words, or the other way round."""
    a, b, c, d = rows
    low, high = ([columns.unpack(x, y, 32, high=high) for x, y in ((a, b), (c, d))] for high in (False, True))
    return (columns.unpack(x, y, 64, high=high) for x, y in (low, high) for high in (False, True))


def header_message(columns: Columns[V], search: Search[V], nonces: V) -> list[Uniform | None]:
    """Write down what the rounds after HEADER_START add; return what of it does not vary."""
    return _written(columns, search, search.header_message(nonces, HEADER_START))


def digest_message(columns: Columns[V], search: Search[V]) -> list[Uniform | None]:
    """Write down what the rounds of the second hash after DIGEST_START add, and abef at its start; return the same.

    search: under the midstate of the unit that left the digests.
    """
    symbolic = search.symbolic
    halves = [[columns.load(DIGESTS + 32 * half + 8 * n) for n in range(4)] for half in range(2)]
    by_name = dict(zip(ABEF + CDGH, (x for rows in halves for x in transposed(columns, rows)), strict=True))
    sums = [symbolic.add(Word(by_name[n]), search.midstate[n]) for n in range(8)]
    digest = [Word(symbolic.settle(x)) for x in sums]
    starts = [symbolic.constant(x) for x in digest_start()]
    for n in (ABEF.index(0), ABEF.index(4)):
        starts[n] = symbolic.add(digest[0], starts[n])
    for n, row in enumerate(transposed(columns, [symbolic.settle(x) for x in starts[:4]])):
        columns.store(row, STARTS + 8 * n)
    return _written(columns, search, islice(search.digest_message(digest), DIGEST_START, DIGEST_START + 2 * PAIRS))


def digest_start() -> list[int]:
    """The second hash's state after DIGEST_START rounds as [*abef, *cdgh], for a digest whose word 0 is 0."""
    integers = Integers()
    block = message(integers, digest_block(integers, [0] * 8))
    state = state_after(integers, IV, block, DIGEST_START)
    return [state[n] for n in ABEF + CDGH]


def _written(columns: Columns[V], search: Search[V], keyed: Iterable[Word[V]]) -> list[Uniform | None]:
    known: list[Uniform | None] = []
    words = map(search.symbolic.shared, keyed)
    for pair, both in enumerate(zip(words, words, strict=True)):
        known += [word.uniform if word.varying is None else None for word in both]
        if None in known[-2:]:
            x, y = map(search.symbolic.settle, both)
            rows = [columns.unpack(x, y, 32, high=high) for high in (False, True)]
            for n, row in enumerate(rows):
                columns.store(row, MESSAGE + 16 * pair + 8 * n)
    return known


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known before any metal is: the parameters, and of both messages what does not vary."""

    layout: Layout
    header: tuple[Uniform | None, ...]
    digest: tuple[Uniform | None, ...]

    def added(
        self,
        known: Sequence[Uniform | None],
        constant: Callable[[int, int], Q],
        slot: Callable[[int], Q],
        stored: Callable[[int], Q],
    ) -> Iterator[Q]:
        """What each pair of rounds adds: two constants, two slots from this one on, or what was written down for it."""
        for pair in range(PAIRS):
            x, y = known[2 * pair : 2 * pair + 2]
            if isinstance(x, int) and isinstance(y, int):
                yield constant(x, y)
            elif isinstance(x, Term) and isinstance(y, Term):
                yield slot(self.layout.terms.index(x))
            else:
                yield stored(MESSAGE + 16 * pair)


@cache
def plan() -> Plan:
    """Both messages, gone through with a metal that only counts."""
    program = Program(MIDSTATE_WORDS + TAIL_WORDS)
    shared: Any = Tally()
    own: Any = Tally()
    starts = [x for x in start_terms(program, HEADER_START) if isinstance(x, Term)]
    first = Search(shared, program, [*starts, *program.inputs[:MIDSTATE_WORDS]])
    header = header_message(shared, first, shared)
    slots = first.symbolic.slots
    slots += [x for x in header if isinstance(x, Term) and x not in slots]
    second = Search(own, program, slots)
    digest = digest_message(own, second)
    for _ in range(2 * PAIRS):
        own.two_rounds()
    layout = Layout(program, tuple(second.symbolic.slots), shared.operations(), own.operations())
    return Plan(layout, tuple(header), tuple(digest))


def search_on(metal: Metal[V]) -> Search[V]:
    """The search whose parameters are the plan's."""
    return Search(metal, plan().layout.program, plan().layout.terms)


class Vectors(Lanes):
    """Columns in LLVM IR: reads from one memory, writes to another, slots from the parameters."""

    def __init__(self, builder: ir.IRBuilder, params: Memory, read: Memory, write: Memory) -> None:
        super().__init__(builder, LANES, load=lambda index: params.load(I32, index))
        self._read, self._write = read, write

    def load(self, place: int) -> ir.Value:
        return self._read.load(self.type, place, 32)

    def store(self, value: ir.Value, place: int) -> None:
        self._write.store(value, place, 32)

    def unpack(self, a: ir.Value, b: ir.Value, width: int, *, high: bool) -> ir.Value:
        words, places = width // 32, []
        for half in (0, 4):
            items = range(half + 2 * high, half + 2 * high + 2, words)
            places += [place + n for item in items for place in (item, item + LANES) for n in range(words)]
        return self._builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, LANES), places))


@dataclass(frozen=True, slots=True)
class Buffers:
    """Where a unit writes and where it reads; `read` and `write` are for the header's message."""

    now: Memory
    before: Memory
    read: Memory
    write: Memory


def buffers(builder: ir.IRBuilder, unit: Unit, *, several: bool) -> Buffers:
    """Where this unit's are, by turns; versions share one message and need it in one place."""
    odd = builder.and_(unit.turn, I64(1))
    even = builder.xor(odd, I64(1))
    now, before = (unit.scratch.beyond(builder.mul(x, I64(UNIT_WORDS))) for x in (odd, even))
    messages = unit.scratch.beyond(I64(2 * UNIT_WORDS))
    if several:
        return Buffers(now, before, messages, messages)
    read, write = (messages.beyond(builder.mul(x, I64(MESSAGE_WORDS))) for x in (even, odd))
    return Buffers(now, before, read, write)


def emit_start(builder: ir.IRBuilder, unit: Unit, *, several: bool) -> ir.Value:
    """The quad abef of a batch's first nonce after HEADER_START rounds; a nonce's number in its batch comes to this.

    The batch is the unit's, or the one before if the unit's own message is only now being written.
    """
    first = unit.first if several else builder.sub(unit.first, I32(LANES))
    word, quad = Lanes(builder, 1).swap_bytes(first), ir.Constant(QUAD, [0] * 4)
    for n in (ABEF.index(0), ABEF.index(4)):
        quad = builder.insert_element(quad, word, I32(n))
    return builder.add(unit.params.load(QUAD, START), quad)


def lane_quad(nonce: int) -> list[int]:
    """What a nonce's number in its batch adds to abef."""
    return [nonce << 24 if n in {0, 4} else 0 for n in ABEF]


@dataclass(frozen=True, slots=True)
class Hybrid:
    """A lowering: both parts as LLVM IR, which keeps them interleaved.

    several: the header's message is computed once for all versions of a batch, instead of ahead for one.
    """

    several: bool
    lanes = LANES
    sse_encodings = True

    @property
    def delay(self) -> int:
        return 2 if self.several else 3

    @property
    def scratch_words(self) -> int:
        return 2 * UNIT_WORDS + 2 * MESSAGE_WORDS

    def layout(self) -> Layout:
        return plan().layout

    def emit_shared(self, builder: ir.IRBuilder, unit: Unit) -> None:
        if self.several:
            self._header_message(builder, unit, buffers(builder, unit, several=True))

    def emit_own(self, builder: ir.IRBuilder, unit: Unit) -> ir.Value:
        there = buffers(builder, unit, several=self.several)
        start = emit_start(builder, unit, several=self.several)
        self.emit_streams(builder, unit, there, start)
        return found(builder, unit, there)

    def emit_streams(self, builder: ir.IRBuilder, unit: Unit, there: Buffers, start: ir.Value) -> None:
        """The whole unit between its beginning and its answer."""
        vectors = cut(builder, partial(self._digest_message, builder, unit, there))
        if not self.several:
            vectors += cut(builder, partial(self._header_message, builder, unit, there))
        rounds = []
        for chain in (
            partial(self._digest_rounds, builder, unit, there),
            partial(self._header_rounds, builder, unit, there, start),
        ):
            rounds += weave([cut(builder, partial(chain, nonce)) for nonce in range(LANES)], _cost)
        append(builder, weave([rounds, vectors], _cost))

    def _header_message(self, builder: ir.IRBuilder, unit: Unit, there: Buffers) -> None:
        metal = Vectors(builder, unit.params, there.read, there.write)
        header_message(metal, search_on(metal), metal.nonces(unit.first))

    def _digest_message(self, builder: ir.IRBuilder, unit: Unit, there: Buffers) -> None:
        metal = Vectors(builder, unit.earlier, there.before, there.now)
        digest_message(metal, search_on(metal))

    def _header_rounds(self, builder: ir.IRBuilder, unit: Unit, there: Buffers, start: ir.Value, nonce: int) -> None:
        sha = Sha(builder)
        abef = sha.add(start, sha.quad(lane_quad(nonce)))
        keyed = _added(builder, plan().header, there.read, unit.params, nonce)
        halves = run_pairs(sha, abef, unit.params.load(QUAD, START + 4), keyed)
        for n, half in enumerate(halves):
            there.now.store(half, DIGESTS + 32 * n + quad_place(nonce), 16)

    def _digest_rounds(self, builder: ir.IRBuilder, unit: Unit, there: Buffers, nonce: int) -> None:
        sha = Sha(builder)
        keyed = _added(builder, plan().digest, there.before, unit.params, nonce)
        abef, cdgh = there.before.load(QUAD, STARTS + quad_place(nonce), 16), sha.quad(digest_start()[4:])
        last = builder.bitcast(run_pairs(sha, abef, cdgh, keyed)[0], ir.VectorType(I64, 2))
        there.now.store(builder.extract_element(last, I32(0)), VERDICTS + pair_place(nonce), 8)


def found(builder: ir.IRBuilder, unit: Unit, there: Buffers) -> ir.Value:
    """The hits among the verdicts: of each pair the word e, which abef has in its second place."""
    lanes = Lanes(builder, LANES)
    low, high = (there.now.load(lanes.type, VERDICTS + n, 32) for n in (0, 8))
    places = [pair_place(nonce) + ABEF.index(4) for nonce in range(LANES)]
    last_e = builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(I32, LANES), places))
    return lanes.hits(last_e, unit.params.load(I32, plan().layout.target_slot))


def _added(
    builder: ir.IRBuilder, known: Sequence[Uniform | None], read: Memory, params: Memory, nonce: int
) -> Iterator[ir.Value]:
    sha = Sha(builder)
    return plan().added(
        known,
        constant=lambda x, y: sha.quad([x, y, 0, 0]),
        slot=lambda index: sha.low_half(params.load(I64, index)),
        stored=lambda place: sha.low_half(read.load(I64, place + pair_place(nonce), 8)),
    )


def _cost(instruction: ir.Instruction) -> int:
    return int(instruction.opname in {"call", "add", "xor", "lshr", "shufflevector"})
