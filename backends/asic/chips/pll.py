"""The clock: which dividers give a frequency, and what they are worth exactly.

    f = 25 MHz * feedback / (reference * post1 * post2)        VCO: the same before the post dividers

Source: 256foundation/mujina bm13xx REFERENCE.md, bitaxeorg/ESP-Miner asic/*.c, kanoi/cgminer driver-gekko.c (BM1397).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from backends.base import SettingRefused

CRYSTAL_HZ = 25 * 10**6
_FAST_VCO_HZ = 24 * 10**8  # from here on the register wants its other flag


@dataclass(frozen=True, slots=True)
class Dividers:
    """One setting of the PLL."""

    feedback: int
    reference: int
    post1: int
    post2: int

    @property
    def vco_hz(self) -> Fraction:
        return Fraction(CRYSTAL_HZ * self.feedback, self.reference)

    @property
    def hertz(self) -> Fraction:
        """Exact: a chip's clock is a ratio of its crystal's."""
        return self.vco_hz / (self.post1 * self.post2)


@dataclass(frozen=True, slots=True)
class Pll:
    """What a kind of chip takes. `references` in the order of preference, `posts` as (post1, post2)."""

    feedback: range
    references: tuple[int, ...]
    posts: tuple[tuple[int, int], ...]
    vco_hz: tuple[int, int] | None = None  # None: no range known but what the dividers give
    posts_less_one: bool = True  # how the register stores them
    fast_flag: bool = True  # whether the register has one

    def solve(self, hertz: float) -> Dividers:
        """The nearest clock that is not above `hertz`, at the fastest VCO: what the chips' own firmware chooses.

        Raises SettingRefused when there is none.
        """
        for reference in self.references:
            found = list(self._candidates(Fraction(hertz), reference))
            if found:
                return max(found, key=lambda dividers: (dividers.hertz, dividers.vco_hz, dividers.post1))
        raise SettingRefused(f"the chip's PLL cannot make {hertz / 1e6:g} MHz")

    def register(self, dividers: Dividers) -> int:
        less = int(self.posts_less_one)
        fast = self.fast_flag and dividers.vco_hz >= _FAST_VCO_HZ
        posts = (dividers.post1 - less) << 4 | (dividers.post2 - less)
        return (0x50 if fast else 0x40) << 24 | dividers.feedback << 16 | dividers.reference << 8 | posts

    def dividers(self, register: int) -> Dividers:
        """What a register's value means. Raises ValueError where it divides by zero."""
        _, feedback, reference, posts = register.to_bytes(4, "big")
        less = int(self.posts_less_one)
        dividers = Dividers(feedback, reference & 0x3F, (posts >> 4 & 7) + less, (posts & 7) + less)
        if not dividers.reference * dividers.post1 * dividers.post2:
            raise ValueError(f"no setting of a PLL: {register:08x}")
        return dividers

    def _candidates(self, wanted: Fraction, reference: int) -> list[Dividers]:
        low, high = self.vco_hz or (0, math.inf)
        found = []
        for post1, post2 in self.posts:
            feedback = math.floor(wanted * reference * post1 * post2 / CRYSTAL_HZ)
            dividers = Dividers(feedback, reference, post1, post2)
            if feedback in self.feedback and low <= dividers.vco_hz <= high:
                found.append(dividers)
        return found


_DESCENDING = tuple((post1, post2) for post1, post2 in product(range(7, 0, -1), repeat=2) if post1 >= post2)

# The Compac F's own driver uses no other post dividers than these.
BM1397_PLL = Pll(range(60, 201), (2, 1), ((3, 5), (2, 5), (1, 5)), posts_less_one=False, fast_flag=False)
BM1362_PLL = Pll(range(16, 251), (2, 1), _DESCENDING, (2 * 10**9, 32 * 10**8))
BM1366_PLL = Pll(range(144, 236), (2,), _DESCENDING)
BM1370_PLL = Pll(range(160, 240), (2, 1), _DESCENDING, (16 * 10**8, 32 * 10**8))
