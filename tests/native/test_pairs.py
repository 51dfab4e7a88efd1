"""The search in pairs of rounds, evaluated with Python integers: what SHA instructions are given must be right."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native import pairs, sha256, streams

from .test_symbolic import HEADER, judge

Quad = tuple[int, ...]

INTEGERS = sha256.Integers()


class Processor:
    """Does what the manual says of the SHA instructions, by the one description of SHA-256 that there is."""

    def quad(self, words: Sequence[int]) -> Quad:
        return tuple(words)

    def add(self, a: Quad, b: Quad) -> Quad:
        return tuple(INTEGERS.add(x, y) for x, y in zip(a, b, strict=True))

    def two_rounds(self, cdgh: Quad, abef: Quad, keyed: Quad) -> Quad:
        (f, e, b, a), (h, g, d, c) = abef, cdgh
        after = sha256.state_after(INTEGERS, (a, b, c, d, e, f, g, h), keyed[:2], 2)
        return tuple(after[n] for n in pairs.ABEF)

    def extend(self, a: Quad, b: Quad) -> Quad:
        mixed = (sha256._rotations_and_shift(INTEGERS, x, sha256.SCHEDULE_15) for x in (*a[1:], b[0]))
        return self.add(a, tuple(mixed))

    def complete(self, partial: Quad, last: Quad) -> Quad:
        words = list(last[2:])
        for x in partial:
            words.append(INTEGERS.add(x, sha256._rotations_and_shift(INTEGERS, words[-2], sha256.SCHEDULE_2)))
        return tuple(words[2:])

    def pick(self, a: Quad, b: Quad, places: Sequence[int]) -> Quad:
        return tuple((*a, *b)[place] for place in places)


def last_word(header: bytes) -> bytes:
    layout = pairs.pairs_layout.__wrapped__()
    processor = Processor()
    words = sha256.words(header)
    slots = layout.fill(INTEGERS, sha256.midstate(header[:64]), words[16:19])
    message = [
        word for quad in streams.header_message(processor, pairs.following, tuple(words[16:20])) for word in quad
    ]
    keyed = pairs.header_pairs(processor, layout.program, lambda pair: (*message[2 * pair : 2 * pair + 2], 0, 0))
    after = pairs.run_pairs(processor, tuple(slots[0:4]), tuple(slots[4:8]), keyed)
    digest = [processor.add(new, tuple(slots[n : n + 4])) for new, n in zip(after, (8, 12), strict=True)]
    found = pairs.verdict_quad(processor, *digest)[pairs.VERDICT_PLACE]
    return INTEGERS.add(found, sha256.IV[7]).to_bytes(4, "big")


@given(st.binary(min_size=80, max_size=80))
@settings(max_examples=30)
def test_any_header_hashes_as_hashlib_does(header: bytes) -> None:
    assert last_word(header) == judge(header)


@pytest.mark.parametrize("round_", range(64))
def test_every_round_constant_matters(round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = list(sha256.K)
    constants[round_] ^= 1
    monkeypatch.setattr(sha256, "K", tuple(constants))
    monkeypatch.setattr(streams, "K", tuple(constants))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("word", range(8))
def test_every_word_of_the_initial_state_matters(word: int, monkeypatch: pytest.MonkeyPatch) -> None:
    state = list(pairs.IV)
    state[word] ^= 1
    monkeypatch.setattr(pairs, "IV", tuple(state))
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize(("name", "value"), [("FIRST_PAIR", 2), ("VERDICT_PAIR", 29), ("ROUNDS", 62)])
def test_no_pair_can_be_dropped(name: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, name, value)
    assert last_word(HEADER) != judge(HEADER)


@pytest.mark.parametrize("operation", ["extend", "complete", "two_rounds"])
def test_every_instruction_matters(operation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    idle: Callable[..., Quad] = lambda _self, first, *_rest: first  # noqa: E731
    monkeypatch.setattr(Processor, operation, idle)
    assert last_word(HEADER) != judge(HEADER)


def test_the_cost_of_a_nonce_is_what_it_was() -> None:
    layout = pairs.pairs_layout()
    assert (layout.shared.extensions, layout.own.extensions, layout.own.round_pairs) == (24, 24, 62)
