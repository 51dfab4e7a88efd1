"""The divided search, evaluated with Python integers: both messages in columns, both sets of rounds in pairs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llvmlite import ir

from native import hybrid, pairs, sha256
from native.hybrid import Hybrid, Plan
from native.lowering import I32, I64, Memory, Unit
from native.pairs import run_pairs
from native.symbolic import Search
from native.word import Uniform

from .processor import INTEGERS, two_rounds, unpack

HEADER = bytes(range(80))

Words = list[int]


class Columns:
    """Vectors of eight Python integers, with words of memory by place."""

    def __init__(self, slots: Sequence[int], memory: dict[int, int]) -> None:
        self.slots = slots
        self.memory = memory

    def constant(self, value: int) -> Words:
        return [value] * 8

    def slot(self, index: int) -> Words:
        return [self.slots[index]] * 8

    def shared(self, x: Words) -> Words:
        return x

    def load(self, place: int) -> Words:
        return [self.memory[place + n] for n in range(8)]

    def store(self, value: Words, place: int) -> None:
        self.memory |= {place + n: word for n, word in enumerate(value)}

    def unpack(self, a: Words, b: Words, width: int, *, high: bool) -> Words:
        return unpack(a, b, width, high=high)

    def add(self, a: Words, b: Words) -> Words:
        return [INTEGERS.add(x, y) for x, y in zip(a, b, strict=True)]

    def rotate(self, x: Words, right: int) -> Words:
        return [INTEGERS.rotate(word, right) for word in x]

    def shift(self, x: Words, right: int) -> Words:
        return [INTEGERS.shift(word, right) for word in x]

    def xor3(self, a: Words, b: Words, c: Words) -> Words:
        return [x ^ y ^ z for x, y, z in zip(a, b, c, strict=True)]

    def choose(self, *_: Words) -> Words:
        raise AssertionError("schedules choose nothing")

    majority = choose


class Rounds:
    def two_rounds(self, cdgh: Words, abef: Words, keyed: Words) -> Words:
        return two_rounds(cdgh, abef, keyed)


def keyed(plan: Plan, known: Sequence[Uniform | None], slots: Words, memory: dict[int, int], nonce: int) -> list[Words]:
    def stored(place: int) -> Words:
        return [memory[place + hybrid.pair_place(nonce) + n] for n in range(2)]

    return list(plan.added(known, lambda x, y: [x, y], lambda slot: slots[slot : slot + 2], stored))


def last_words(header: bytes) -> list[bytes]:
    """The last word of the hash for eight nonces from the header's on, the lowest bits of the nonce being 0."""
    plan = hybrid.plan.__wrapped__()
    words = sha256.words(header)
    slots = plan.layout.fill(INTEGERS, sha256.midstate(header[:64]), words[16:19])
    message: dict[int, int] = {}
    columns = Columns(slots, message)
    nonces = [words[19] | lane << 24 for lane in range(8)]
    hybrid.header_message(columns, Search(columns, plan.layout.program, plan.layout.terms), nonces)
    digests: dict[int, int] = {}
    for n, nonce in enumerate(nonces):
        abef = [INTEGERS.add(x, nonce if place in {1, 3} else 0) for place, x in enumerate(slots[:4])]
        after = run_pairs(Rounds(), abef, slots[4:8], keyed(plan, plan.header, slots, message, n))
        for half, quad in enumerate(after):
            place = hybrid.DIGESTS + 32 * half + hybrid.quad_place(n)
            digests |= {place + n: word for n, word in enumerate(quad)}
    columns = Columns(slots, digests)
    hybrid.digest_message(columns, Search(columns, plan.layout.program, plan.layout.terms))
    found = []
    for n in range(8):
        abef = [digests[hybrid.STARTS + hybrid.quad_place(n) + place] for place in range(4)]
        after = run_pairs(Rounds(), abef, hybrid.digest_start()[4:], keyed(plan, plan.digest, [], digests, n))
        found.append(INTEGERS.add(after[0][1], sha256.IV[7]).to_bytes(4, "big"))
    return found


def eight(header: bytes) -> bytes:
    """The same header, its nonce rounded down."""
    return header[:76] + bytes([header[76] & 0xF8]) + header[77:]


def judge(header: bytes) -> list[bytes]:
    (first,) = struct.unpack("<I", header[76:])
    headers = [header[:76] + struct.pack("<I", first + n) for n in range(8)]
    return [hashlib.sha256(hashlib.sha256(x).digest()).digest()[28:] for x in headers]


@given(st.binary(min_size=80, max_size=80).map(eight))
@settings(max_examples=10, deadline=None)
def test_any_header_hashes_as_hashlib_does(header: bytes) -> None:
    assert last_words(header) == judge(header)


@pytest.mark.parametrize("round_", range(61))
def test_every_round_constant_matters(round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = list(sha256.K)
    constants[round_] ^= 1
    monkeypatch.setattr(sha256, "K", tuple(constants))
    assert last_words(eight(HEADER)) != judge(eight(HEADER))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["SCHEDULE_15", "SCHEDULE_2"])
def test_every_rotation_matters(name: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = list(getattr(sha256, name))
    distances[place] += 1
    monkeypatch.setattr(sha256, name, tuple(distances))
    assert last_words(eight(HEADER)) != judge(eight(HEADER))


@pytest.mark.parametrize(("name", "value"), [("DIGEST_START", 2), ("IV", sha256.IV[::-1])])
def test_no_other_start_will_do(name: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, name, value)
    assert last_words(eight(HEADER)) != judge(eight(HEADER))


def test_the_cost_of_a_nonce_is_what_it_was() -> None:
    """A change of these numbers is a change of speed: let it be on purpose."""
    layout = hybrid.plan().layout
    assert (layout.own.round_pairs, layout.shared.round_pairs) == (60, 0)
    assert (layout.shared.total, layout.own.total, layout.slots) == (506, 636, 25)
    assert (layout.shared.unpack, layout.own.unpack) == (46, 78)


def test_no_slot_is_kept_twice() -> None:
    layout = hybrid.plan().layout
    assert len(set(layout.terms)) == layout.target_slot


@pytest.mark.parametrize("several", [False, True])
def test_llvm_is_given_sixty_pairs_of_rounds_a_hash_among_the_schedule(several: bool) -> None:  # noqa: FBT001
    pointer = I32.as_pointer()
    kind = ir.FunctionType(I32, [I32, I64, pointer, pointer, pointer])
    function = ir.Function(ir.Module(), kind, "unit")
    builder = ir.IRBuilder(function.append_basic_block())
    first, turn, *memories = function.args
    params, earlier, scratch = (Memory(builder, x) for x in memories)
    builder.ret(Hybrid(several=several).emit_own(builder, Unit(first, turn, params, earlier, scratch)))
    block = builder.block.instructions
    rounds = [n for n, x in enumerate(block) if x.opname == "call" and "sha256rnds2" in x.callee.name]
    assert len(rounds) == 8 * 60
    apart = sorted(later - before for before, later in pairwise(rounds))
    assert apart[len(apart) * 9 // 10] < 15  # neither part waits for the other to end


def test_what_a_pair_of_rounds_adds_lies_where_unpacking_puts_it() -> None:
    a, b = [f"a{n}" for n in range(8)], [f"b{n}" for n in range(8)]
    rows = unpack(a, b, 32, high=False) + unpack(a, b, 32, high=True)  # type: ignore[arg-type, operator]
    for nonce in range(8):
        place = hybrid.pair_place(nonce)
        assert rows[place : place + 2] == [f"a{nonce}", f"b{nonce}"]
    assert pairs.ABEF.index(4) == 1
