"""SHA-256 (FIPS 180-4), written once for every kind of word.

The only module with round constants and rotation amounts. The functions run over an `Algebra`: plain integers here,
tagged words in `word`, machine code through `vector`. hashlib is the judge of all of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

MASK = 0xFFFFFFFF

K = (
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
)  # fmt: skip
IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)

# Rotations to the right; the third number of the schedule's two is a shift.
ROUND_A = (2, 13, 22)
ROUND_E = (6, 11, 25)
SCHEDULE_15 = (7, 18, 3)
SCHEDULE_2 = (17, 19, 10)

ROUNDS = 64
# The last word of a digest is IV[7] plus e of round 60: three more rounds only move it along. It needs no a younger
# than round 56, because a becomes d, and so reaches e, four rounds later.
VERDICT_ROUND = 60

PADDING = 0x80000000  # the bit that ends every message

W = TypeVar("W")


class Algebra(Protocol[W]):
    """What 32-bit words of some kind can do: all that SHA-256 asks of them."""

    def constant(self, value: int) -> W: ...
    def add(self, a: W, b: W) -> W: ...
    def rotate(self, x: W, right: int) -> W: ...
    def shift(self, x: W, right: int) -> W: ...
    def xor3(self, a: W, b: W, c: W) -> W: ...
    def choose(self, e: W, f: W, g: W) -> W: ...
    def majority(self, a: W, b: W, c: W) -> W: ...
    def shared(self, x: W) -> W:
        """The same word, about to be used twice: work that both uses would do is done now."""


class Integers:
    """Words as Python integers."""

    def constant(self, value: int) -> int:
        return value

    def add(self, a: int, b: int) -> int:
        return (a + b) & MASK

    def rotate(self, x: int, right: int) -> int:
        return (x >> right | x << 32 - right) & MASK

    def shift(self, x: int, right: int) -> int:
        return x >> right

    def xor3(self, a: int, b: int, c: int) -> int:
        return a ^ b ^ c

    def choose(self, e: int, f: int, g: int) -> int:
        return g ^ (e & (f ^ g))

    def majority(self, a: int, b: int, c: int) -> int:
        return (a & b) | (c & (a | b))

    def shared(self, x: int) -> int:
        return x


def words(block: bytes) -> list[int]:
    """The big-endian 32-bit words of a string of 4 n bytes."""
    return list(struct.unpack(f">{len(block) // 4}I", block))


def midstate(prefix64: bytes) -> list[int]:
    """The eight state words after the first 64 bytes of a header."""
    return compress(Integers(), IV, words(prefix64))


def compress(algebra: Algebra[W], state: Sequence[W], block: Sequence[W]) -> list[W]:
    """The eight state words after one block of sixteen words."""
    done = state_after(algebra, state, message(algebra, block), ROUNDS)
    return [algebra.add(old, new) for old, new in zip(state, done, strict=True)]


def state_after(algebra: Algebra[W], state: Sequence[W], keyed: Iterable[W], rounds: int) -> list[W]:
    """The eight state words after so many rounds, to which the old state has not been added."""
    a, e = _rounds(algebra, state, keyed, last=rounds - 1, last_a=rounds - 1)
    return [*a[:-5:-1], *e[:-5:-1]]


def last_word(algebra: Algebra[W], state: Sequence[W], keyed: Iterable[W]) -> W:
    """The eighth state word after one block, by the rounds that it depends on and no others."""
    _, e = _rounds(algebra, state, keyed, last=VERDICT_ROUND, last_a=VERDICT_ROUND - 4)
    return algebra.add(state[7], e[-1])


def header_block(algebra: Algebra[W], tail: Sequence[W], nonce: W) -> list[W]:
    """The second block of an 80-byte header.

    tail: the 3 words of bytes 64..75; nonce: the word of bytes 76..79, so the byte-swapped nonce.
    """
    constant = algebra.constant
    return [*tail, nonce, constant(PADDING), *[constant(0)] * 10, constant(80 * 8)]


def digest_block(algebra: Algebra[W], digest: Sequence[W]) -> list[W]:
    """The block that holds a digest, to be hashed again."""
    constant = algebra.constant
    return [*digest, constant(PADDING), *[constant(0)] * 6, constant(32 * 8)]


def message(algebra: Algebra[W], block: Sequence[W]) -> Iterator[W]:
    """What the rounds add, one after the other: the word of the schedule plus the round's constant."""
    w = list(block)
    for t in range(ROUNDS):
        if t >= len(w):
            w.append(algebra.shared(_schedule(algebra, w, t)))
        yield algebra.add(w[t], algebra.constant(K[t]))


def _rounds(
    algebra: Algebra[W], state: Sequence[W], keyed: Iterable[W], *, last: int, last_a: int
) -> tuple[list[W], list[W]]:
    """The values that a and e take: a[t + 4] is a after round t, a[3] down to a[0] are a, b, c, d before it.

    The other six words of the state are these two, one to three rounds late.
    """
    add = algebra.add
    a, e = list(state[3::-1]), list(state[:3:-1])
    for t, word in zip(range(last + 1), keyed, strict=False):
        step = add(add(e[t], word), algebra.choose(e[t + 3], e[t + 2], e[t + 1]))
        step = algebra.shared(add(step, _rotations(algebra, e[t + 3], ROUND_E)))
        e.append(algebra.shared(add(a[t], step)))
        if t <= last_a:
            majority = algebra.majority(a[t + 3], a[t + 2], a[t + 1])
            a.append(algebra.shared(add(add(step, majority), _rotations(algebra, a[t + 3], ROUND_A))))
    return a, e


def _schedule(algebra: Algebra[W], w: Sequence[W], t: int) -> W:
    add = algebra.add
    sigma = _rotations_and_shift(algebra, w[t - 15], SCHEDULE_15)
    early = add(add(w[t - 16], w[t - 7]), sigma)
    return add(early, _rotations_and_shift(algebra, w[t - 2], SCHEDULE_2))


def _rotations(algebra: Algebra[W], x: W, by: tuple[int, int, int]) -> W:
    return algebra.xor3(algebra.rotate(x, by[0]), algebra.rotate(x, by[1]), algebra.rotate(x, by[2]))


def _rotations_and_shift(algebra: Algebra[W], x: W, by: tuple[int, int, int]) -> W:
    return algebra.xor3(algebra.rotate(x, by[0]), algebra.rotate(x, by[1]), algebra.shift(x, by[2]))
