"""Proof-of-work targets: the compact form in a header, the number it stands for, and difficulty.

A header wins when its double SHA-256, read as a little-endian integer, is at most the target. Difficulty says
how many times harder a target is than the easiest of mainnet; pools set share targets by difficulty alone.
Source: Bitcoin Core, arith_uint256 (SetCompact, GetCompact) and GetDifficulty; the shares' difficulty 1 is Core's
too ("bdiff"), not the slightly easier 2**224 - 1 of the first pools ("pdiff").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Self

from miner.chain.errors import TargetError
from miner.chain.hashes import require_hash

DIFFICULTY_ONE = 0xFFFF << 208
MAX_TARGET = (1 << 256) - 1

_SIGN = 0x00800000
_MANTISSA = 0x007FFFFF


@dataclass(frozen=True, slots=True, order=True)
class Target:
    """The largest hash, as an integer in 1 .. 2**256 - 1, that still counts. A greater target is easier."""

    value: int

    def __post_init__(self) -> None:
        if not 0 < self.value <= MAX_TARGET:
            raise TargetError(f"target out of range: {self.value:#x}")

    @classmethod
    def from_nbits(cls, nbits: int) -> Self:
        """Decode the compact form: one byte of length, then a sign bit and 23 bits of mantissa.

        Raises TargetError for what is negative, zero or overflows, as Core does; a chain's own limit is
        Network.block_target's business.
        """
        if not 0 <= nbits <= 0xFFFFFFFF:
            raise TargetError(f"nbits does not fit in 32 bits: {nbits:#x}")
        size, mantissa = nbits >> 24, nbits & _MANTISSA
        value = mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)
        if value == 0:
            raise TargetError(f"zero target: nbits {nbits:08x}")
        if nbits & _SIGN:
            raise TargetError(f"negative target: nbits {nbits:08x}")
        if value > MAX_TARGET:
            raise TargetError(f"target above 256 bits: nbits {nbits:08x}")
        return cls(value)

    @classmethod
    def from_difficulty(cls, difficulty: float | Fraction) -> Self:
        """The target of a pool's difficulty, which may be far below 1; clamped to 1 .. 2**256 - 1.

        Exact down to the last bit of the double, so that a share on the edge is judged as an exact pool judges it.
        Raises TargetError for NaN, infinity, zero, negative numbers, and for what JSON calls true or "8".
        """
        if isinstance(difficulty, bool) or not isinstance(difficulty, (int, float, Fraction)):
            raise TargetError(f"difficulty is not a number: {difficulty!r}")
        if isinstance(difficulty, float) and not math.isfinite(difficulty):
            raise TargetError(f"difficulty is not finite: {difficulty!r}")
        if difficulty <= 0:
            raise TargetError(f"difficulty is not positive: {difficulty!r}")
        exact = int(DIFFICULTY_ONE / Fraction(difficulty))
        return cls(min(max(exact, 1), MAX_TARGET))

    def to_nbits(self) -> int:
        """The compact form; low bits that it has no room for are lost, so the result is never easier."""
        size = (self.value.bit_length() + 7) // 8
        mantissa = self.value >> 8 * (size - 3) if size > 3 else self.value << 8 * (3 - size)
        if mantissa & _SIGN:  # the top bit is taken: move to the next length
            mantissa >>= 8
            size += 1
        return size << 24 | mantissa

    def met_by(self, block_hash: bytes) -> bool:
        """Whether a hash, 32 bytes in header order, is at most this target; raises HashError for other lengths."""
        return int.from_bytes(require_hash(block_hash), "little") <= self.value

    @property
    def difficulty(self) -> float:
        """How many times harder than difficulty 1; the nearest double."""
        return DIFFICULTY_ONE / self.value

    def __str__(self) -> str:
        """64 hex digits, most significant first, as in a block template."""
        return f"{self.value:064x}"


def difficulty_of(block_hash: bytes) -> float:
    """The highest difficulty that a hash, 32 bytes in header order, still meets: what "best share" ranks by.

    Raises HashError for other lengths. An all-zero hash counts as 1, to stay finite.
    """
    return DIFFICULTY_ONE / max(int.from_bytes(require_hash(block_hash), "little"), 1)
