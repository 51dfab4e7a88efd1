"""The symbolic search, evaluated with Python integers: what it leaves out and moves must not change the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native
from benchmarks.cpu import floor
from native import sha256, symbolic
from native.word import Program, Symbolic, Word

HEADER = bytes(range(80))


class Numbers(sha256.Integers):
    """A metal that computes one nonce, in Python."""

    def __init__(self, slots: Sequence[int]) -> None:
        self.slots = slots

    def slot(self, index: int) -> int:
        return self.slots[index]


def last_word(header: bytes) -> bytes:
    layout = symbolic.layout.__wrapped__()  # not the remembered one: a mutation must go through all of it
    words = sha256.words(header)
    slots = layout.fill(sha256.Integers(), sha256.midstate(header[:64]), words[16:19])
    search = symbolic.Search(Numbers(slots), layout.program, layout.terms)
    message = search.header_message(words[19])
    kept = [word.varying for word in message if word.varying is not None]  # all that a second version is given
    again = (
        Word(kept.pop(0)) if word is None else Word(uniform=word) for word in symbolic.header_words(layout.program)
    )
    return search.last_word(again).to_bytes(4, "big")


def judge(header: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(header).digest()).digest()[28:]


@given(st.binary(min_size=80, max_size=80))
@settings(max_examples=30)
def test_any_header_hashes_as_hashlib_does(header: bytes) -> None:
    assert last_word(header) == judge(header)


def test_published_headers_hash_as_published(vectors: dict[str, Any]) -> None:
    assert vectors["block_headers"]
    for vector in vectors["block_headers"]:
        assert last_word(bytes.fromhex(vector["header_hex"])).hex() == vector["hash_le"][-8:]


@pytest.mark.parametrize("round_", range(64))
def test_every_round_constant_matters(round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = list(sha256.K)
    constants[round_] ^= 1
    monkeypatch.setattr(sha256, "K", tuple(constants))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("word", range(8))
def test_every_word_of_the_initial_state_matters(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    state = list(sha256.IV)
    state[word] ^= 1
    monkeypatch.setattr(sha256, "IV", tuple(state))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["ROUND_A", "ROUND_E", "SCHEDULE_15", "SCHEDULE_2"])
def test_every_rotation_matters(name: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = list(getattr(sha256, name))
    distances[place] += 1
    monkeypatch.setattr(sha256, name, tuple(distances))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize(("name", "value"), [("ROUNDS", 63), ("VERDICT_ROUND", 59), ("PADDING", 1)])
def test_no_further_round_can_be_dropped(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sha256, name, value)
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("operation", ["rotate", "shift", "xor3", "choose", "majority", "add"])
def test_every_operation_of_the_metal_matters(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Numbers, operation, lambda _self, first, *_rest: first)
    assert last_word(HEADER) != judge(HEADER)


def test_the_cost_of_a_nonce_is_what_it_was() -> None:
    """A change of these numbers is a change of speed: let it be on purpose."""
    layout = symbolic.layout()
    assert (layout.shared.total, layout.own.total, layout.slots) == (461, 2389, 35)
    assert floor.two_operand_total(layout.shared + layout.own) == 5754


def test_no_slot_is_kept_twice() -> None:
    assert len(set(symbolic.layout().terms)) == symbolic.layout().target_slot


def test_a_sum_of_uniform_parts_costs_the_metal_one_addition() -> None:
    program = Program(2)
    tally: Any = symbolic.Tally()
    algebra = Symbolic(program, tally)
    first, second = (Word[Any](uniform=term) for term in program.inputs)
    total = Word(tally)
    for part in (first, algebra.constant(5), second, algebra.constant(7)):
        total = algebra.add(total, part)
    algebra.settle(total)
    algebra.settle(total)
    assert tally.operations() == native.Operations(add=1)
    assert len(algebra.slots) == 1
    assert program.run(sha256.Integers(), [100, 1000], algebra.slots) == [1112]


def test_constants_are_folded_and_leave_nothing_to_compute() -> None:
    program = Program(0)
    assert program.add(program.rotate(0x80000001, 1), program.shift(0xF0, 4)) == (0xC0000000 + 0xF)
    assert program.run(sha256.Integers(), [], []) == []
