"""One chip: what its kind is made of, and its registers.

Sources: mujina's BM13xx REFERENCE.md, ESP-Miner's components/asic, cgminer's driver-gekko.c. A value for which none of
them has a source is said to be such.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CRYSTAL_HZ = 25e6
_CHIP_ID, _PLL, _SWEEP, _TICKET, _MISC, _UART, _CORE = 0x00, 0x08, 0x10, 0x14, 0x18, 0x28, 0x3C
_VERSION_ROLLING = 0xA4
_CORE_ENABLE, _ENABLED = 2, 0xAA
_SIXTEEN = 0xFFFF


@dataclass(frozen=True, slots=True)
class ChipKind:
    """What all chips of a kind have in common."""

    name: str
    identity: int  # register 0, its lowest byte being the chip's address from BM1362 on
    cores: int  # that the nonce's core field tells apart
    subcores: int  # that roll versions of their own; 1: midstates instead
    small_cores: int  # hashes per cycle
    uart_register: int
    uart_shift: int
    uart_bits: int
    reset: dict[int, int]
    pll_as_is: bool = False  # post dividers are stored as they are, not less one
    job_length: int | None = None  # of the frame after its preamble; None: as its length byte says
    half_bits: bool = False  # the excess byte counts half bits

    @property
    def rolls_versions(self) -> bool:
        return self.subcores > 1


_GROUP_RESET = {_PLL: 0, _SWEEP: 0, _TICKET: 0, _MISC: 0x0000C100, _UART: 0x01301A00, _CORE: 0, _VERSION_ROLLING: 0}
_GROUP_OTHERS = dict.fromkeys((0x0C, 0x2C, 0x54, 0x58, 0x68, 0xA8, 0xB0, 0xB4, 0xB9, 0x4C, *range(0x88, 0x8D)), 0)

BM1397 = ChipKind(
    name="BM1397",
    identity=0x13971800,
    cores=128,  # of the field's seven bits; how 168 cores share them is not known
    subcores=1,
    small_cores=672,
    uart_register=_MISC,
    uart_shift=8,
    uart_bits=0x1F,
    reset={
        **dict.fromkeys((_PLL, _TICKET, 0x20, _UART, _CORE, 0x58, 0x60, 0x64, 0x68, 0x70, 0x80, 0x84), 0),
        _MISC: 0x00007A31,
        0x1C: 0,
    },
    pll_as_is=True,
)
BM1362 = ChipKind(
    name="BM1362",
    identity=0x13620300,
    cores=65,
    subcores=8,
    small_cores=514,
    uart_register=_UART,
    uart_shift=8,
    uart_bits=0xFF,
    reset=_GROUP_RESET | _GROUP_OTHERS,
    job_length=86,
    half_bits=True,
)
BM1370 = ChipKind(
    name="BM1370",
    identity=0x13700000,
    cores=128,
    subcores=16,
    small_cores=2040,
    uart_register=_UART,
    uart_shift=8,
    uart_bits=0xFF,
    reset=_GROUP_RESET | _GROUP_OTHERS,
    job_length=86,
    half_bits=True,
)


@dataclass(slots=True)
class Chip:
    """`address` is 0 until one is assigned; `assigned` tells that apart from address 0."""

    kind: ChipKind
    address: int = 0
    assigned: bool = False
    registers: dict[int, int] = field(default_factory=dict)
    core_registers: dict[int, int] = field(default_factory=dict)

    def reset(self) -> None:
        self.address, self.assigned = 0, False
        self.registers = dict(self.kind.reset)
        self.core_registers = {}

    def read(self, register: int) -> int | None:
        """None: there is no such register, and the chip stays silent."""
        if register == _CHIP_ID:
            return self.kind.identity | (self.address if self.kind.rolls_versions else 0)
        return self.registers.get(register)

    def write(self, register: int, value: int) -> None:
        if register not in self.registers:
            return
        self.registers[register] = value
        if register == _CORE and value & 0x8000:
            self.core_registers[value >> 8 & 0x1F] = value & 0xFF

    @property
    def baud(self) -> float:
        divisor = self.registers[self.kind.uart_register] >> self.kind.uart_shift & self.kind.uart_bits
        return CRYSTAL_HZ / (8 * (divisor + 1))

    @property
    def frequency_hz(self) -> float:
        """0 while the PLL is not set to anything that gives a clock."""
        _, multiplier, reference, post = self.registers[_PLL].to_bytes(4, "big")
        less = 0 if self.kind.pll_as_is else 1
        divisor = reference * ((post >> 4 & 7) + less) * ((post & 7) + less)
        return CRYSTAL_HZ * multiplier / divisor if divisor else 0.0

    @property
    def hashing(self) -> bool:
        """Whether a job would be worked on: a clock, and cores that were enabled (BM1362 and later)."""
        enabled = not self.kind.rolls_versions or self.core_registers.get(_CORE_ENABLE) == _ENABLED
        return enabled and self.frequency_hz > 0

    @property
    def ticket_bits(self) -> int:
        """Zero bits that a hash needs beyond the first 32."""
        return self.registers[_TICKET].bit_count()

    @property
    def long_replies(self) -> bool:
        return self.registers.get(_VERSION_ROLLING, 0) >> 31 == 1

    @property
    def version_mask(self) -> int:
        """Sixteen bits: what may be rolled; 0: nothing."""
        return self.registers[_VERSION_ROLLING] & _SIXTEEN if self.long_replies else 0

    def sweep_s(self, midstates: int) -> float:
        """How long one job keeps the chip busy; after that it says nothing."""
        if not self.kind.rolls_versions:
            return midstates * 2**32 / (self.kind.small_cores * self.frequency_hz)
        versions = 1 << self.version_mask.bit_count()
        return max(1.0, versions / self.kind.subcores) * self.registers[_SWEEP] / CRYSTAL_HZ
