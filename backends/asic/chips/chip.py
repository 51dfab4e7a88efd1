"""What the chips are: numbers only.

Source of cores, small cores and identities: bitaxeorg/ESP-Miner device_config.h, 256foundation/mujina bm13xx
REFERENCE.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.asic.chips.pll import BM1362_PLL, BM1366_PLL, BM1370_PLL, BM1397_PLL, CRYSTAL_HZ, Pll
from backends.base import NONCES


@dataclass(frozen=True, slots=True)
class Chip:
    """A kind of chip.

    cores: they share the nonces; small_cores: one hash per clock each.
    version_bits: the header's bits that it rolls on its own, 0 for a chip that takes midstates.
    """

    name: str
    identity: int  # the first half of its CHIP_ID register
    cores: int
    small_cores: int
    pll: Pll
    reply_length: int  # bytes, once version rolling is on
    version_bits: int = 0
    tag_job_mask: int = 0xF8  # which bits of a result's tag name the job ...
    tag_job_shift: int = 0  # ... and how far to the right they stand
    address_shift: int | None = None  # where in the search counter the chip's address begins; None: not there
    address_bits: int = 0
    job_step: int = 8  # from one job's id to the next
    job_length: int | None = None  # what job frames say for their length; None: the truth
    sweep_guard: int = 0  # ticks less than the formula gives

    @property
    def subcores(self) -> int:
        """Versions that one core searches at the same time."""
        return power_of_two(self.small_cores) // power_of_two(self.cores)

    def core(self, counter: int) -> int:
        """The core that found this."""
        return counter >> 25

    def address(self, counter: int) -> int | None:
        """The address of the chip that found this; None where the counter does not tell."""
        if self.address_shift is None:
            return None
        return (counter >> self.address_shift & (1 << self.address_bits) - 1) << 8 - self.address_bits

    def sweep_ticks(self, hertz: float, chips: int) -> int:
        """HASH_COUNTING's value at which a sweep goes through all nonces of a version: ticks of the crystal."""
        share = NONCES // power_of_two(self.cores) // power_of_two(chips)
        return max(int(share * CRYSTAL_HZ / hertz / 2) - self.sweep_guard, 1)


def power_of_two(number: int) -> int:
    """The next one that is not below."""
    return 1 << (number - 1).bit_length()


_ROLLED = 0xFFFF << 13  # version bits 28..13, BIP 320

BM1397 = Chip(
    "BM1397",
    0x1397,
    cores=168,
    small_cores=672,
    pll=BM1397_PLL,
    reply_length=9,
    tag_job_mask=0xFC,
    address_shift=17,
    address_bits=8,
    job_step=4,
)
BM1362 = Chip(
    "BM1362",
    0x1362,
    cores=65,
    small_cores=514,
    pll=BM1362_PLL,
    reply_length=11,
    version_bits=_ROLLED,
    address_shift=18,
    address_bits=7,
    job_length=0x36,  # what the Compac A1's own driver says
    sweep_guard=200,
)
BM1366 = Chip(
    "BM1366",
    0x1366,
    cores=112,
    small_cores=894,
    pll=BM1366_PLL,
    reply_length=11,
    version_bits=_ROLLED,
    address_shift=18,
    address_bits=7,
    sweep_guard=200,
)
BM1368 = Chip(
    "BM1368",
    0x1368,
    cores=80,
    small_cores=1276,
    pll=BM1366_PLL,
    reply_length=11,
    version_bits=_ROLLED,
    tag_job_mask=0xF0,
    tag_job_shift=1,
    job_step=24,
    sweep_guard=200,
)
BM1370 = Chip(
    "BM1370",
    0x1370,
    cores=128,
    small_cores=2040,
    pll=BM1370_PLL,
    reply_length=11,
    version_bits=_ROLLED,
    tag_job_mask=0xF0,
    tag_job_shift=1,
    job_step=24,
    sweep_guard=268,
)
CHIPS = {chip.name: chip for chip in (BM1397, BM1362, BM1366, BM1368, BM1370)}
