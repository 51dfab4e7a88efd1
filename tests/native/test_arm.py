"""The search in ARM's SHA instructions, evaluated with Python integers: what they are given must be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import arm, sha256, streams

from .test_symbolic import HEADER, judge

Quad = tuple[int, ...]

INTEGERS = sha256.Integers()


class Processor:
    """Does what the manual says of the SHA instructions, by the one description of SHA-256 that there is."""

    def quad(self, words: Sequence[int]) -> Quad:
        return tuple(words)

    def add(self, a: Quad, b: Quad) -> Quad:
        return tuple(INTEGERS.add(x, y) for x, y in zip(a, b, strict=True))

    def next_abcd(self, abcd: Quad, efgh: Quad, keyed: Quad) -> Quad:
        return tuple(sha256.state_after(INTEGERS, abcd + efgh, keyed, 4)[:4])

    def next_efgh(self, efgh: Quad, abcd: Quad, keyed: Quad) -> Quad:
        return tuple(sha256.state_after(INTEGERS, abcd + efgh, keyed, 4)[4:])

    def extend(self, a: Quad, b: Quad) -> Quad:
        return self.add(a, tuple(sha256._rotations_and_shift(INTEGERS, x, sha256.SCHEDULE_15) for x in (*a[1:], b[0])))

    def complete(self, partial: Quad, before: Quad, last: Quad) -> Quad:
        words = list(last[2:])
        for x in self.add(partial, (*before[1:], last[0])):
            words.append(INTEGERS.add(x, sha256._rotations_and_shift(INTEGERS, words[-2], sha256.SCHEDULE_2)))
        return tuple(words[2:])


def last_word(header: bytes) -> bytes:
    layout = arm.arm_layout.__wrapped__()
    words = sha256.words(header)
    slots = layout.fill(INTEGERS, sha256.midstate(header[:64]), words[16:19])
    processor = Processor()
    message = streams.header_message(processor, arm.following, (*slots[8:11], words[19]))
    found = arm.verdict(processor, (tuple(slots[:4]), tuple(slots[4:8])), message)
    return INTEGERS.add(found[arm.VERDICT_PLACE], sha256.IV[7]).to_bytes(4, "big")


@given(st.binary(min_size=80, max_size=80))
@settings(max_examples=30)
def test_any_header_hashes_as_hashlib_does(header: bytes) -> None:
    assert last_word(header) == judge(header)


@pytest.mark.parametrize("round_", range(64))
def test_every_round_constant_matters_up_to_the_verdict(round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = list(sha256.K)
    constants[round_] ^= 1
    monkeypatch.setattr(streams, "K", tuple(constants))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("word", range(8))
def test_every_word_of_the_initial_state_matters(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    state = list(sha256.IV)
    state[word] ^= 1
    monkeypatch.setattr(arm, "IV", tuple(state))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize(("module", "name", "value"), [(arm, "VERDICT_PLACE", 2), (streams, "ROUNDS", 60)])
def test_no_round_can_be_dropped(module: ModuleType, name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, name, value)
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("operation", ["extend", "complete", "next_abcd", "next_efgh"])
def test_every_instruction_matters(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    idle: Callable[..., Quad] = lambda _self, first, *_rest: first  # noqa: E731
    monkeypatch.setattr(Processor, operation, idle)
    assert last_word(HEADER) != judge(HEADER)


def test_the_cost_of_a_nonce_is_what_it_was() -> None:
    layout = arm.arm_layout()
    assert (layout.shared.extensions, layout.shared.add) == (24, 16)
    assert (layout.own.extensions, layout.own.round_pairs, layout.own.add) == (24, 64, 18)
    assert layout.slots == 12
