"""The chips' own filter: how many results of difficulty one they keep to themselves for each one they report.

A mask of n bits lets through hashes with 32 + n leading zero bits. Register 0x14 holds 2^n - 1 with the bits of each of
its bytes in reverse. Source: bitaxeorg/ESP-Miner asic_common.c, kanoi/cgminer driver-gekko.c.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIT = (1 << 224) - 1  # the target without a mask: chips never report less than 32 zero bits
BITS_MAX = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """A mask of so many bits over a chip that reports hashes up to `unit` without any.

    unit: 2^k - 1; real chips have UNIT, emulated ones declare an easier one.
    """

    bits: int
    unit: int = UNIT

    @classmethod
    def for_target(cls, target: int, unit: int = UNIT) -> Ticket:
        """The hardest that still lets everything up to `target` through, or all that chips can report."""
        return cls(min(max(unit.bit_length() - target.bit_length(), 0), BITS_MAX), unit)

    @property
    def target(self) -> int:
        """The largest hash that the chips report."""
        return self.unit >> self.bits

    @property
    def register(self) -> int:
        mask = (1 << self.bits) - 1
        return int.from_bytes(bytes(map(_reversed, mask.to_bytes(4, "big"))), "big")


def _reversed(byte: int) -> int:
    return int(f"{byte:08b}"[::-1], 2)
