"""What the host writes to a chain of BM1397, BM1362, BM1366, BM1368 or BM1370 chips: commands and jobs.

    55 AA  kind  length  payload  checksum        length: all bytes but the preamble

Commands end in a CRC-5 in a byte of its own, jobs in a CRC-16. A register has 4 bytes, most significant first.
Source: 256foundation/mujina bm13xx REFERENCE.md.
"""

from __future__ import annotations

from enum import IntEnum

from backends.asic.chips.crc import crc5, crc16
from backends.base import Misuse

PREAMBLE = b"\x55\xaa"
ADDRESSES = 256  # of one chain

_SET_ADDRESS, _WRITE, _READ, _INACTIVE = 0x40, 0x41, 0x42, 0x53
_BROADCAST = 0x10
_JOB = 0x21


class Register(IntEnum):
    """Those that drivers of this family write or read."""

    CHIP_ID = 0x00
    PLL0 = 0x08
    HASH_COUNTING = 0x10  # 25 MHz ticks per sweep of a version
    TICKET_MASK = 0x14
    MISC_CONTROL = 0x18
    ORDERED_CLOCK_ENABLE = 0x20
    FAST_UART = 0x28
    CORE_MAILBOX = 0x3C
    ANALOG_MUX = 0x54
    IO_DRIVE = 0x58
    PLL3 = 0x68
    PLL0_DIVIDER = 0x70
    CLOCK_ORDER_0 = 0x80
    CLOCK_ORDER_1 = 0x84
    VERSION_ROLLING = 0xA4
    SOFT_RESET = 0xA8
    ADC_CONTROL = 0xB9


def read_register(register: int, address: int | None = None) -> bytes:
    """Ask one chip, or with None all of them; each answers once, in the order of the chain."""
    return _command(*_scope(_READ, address), register)


def write_register(register: int, value: int, address: int | None = None) -> bytes:
    """Set it in one chip, or with None in all. Raises Misuse for more than 32 bits."""
    if not 0 <= value < 1 << 32:
        raise Misuse(f"register {register:02x} does not hold {value:#x}")
    return _command(*_scope(_WRITE, address), register, *value.to_bytes(4, "big"))


def set_address(address: int) -> bytes:
    """Name the first chip of the chain that has no name since `chain_inactive`."""
    return _command(_SET_ADDRESS, _valid(address), 0)


def chain_inactive() -> bytes:
    """Take the addresses from all chips: each hands nothing on until it has a new one."""
    return _command(_INACTIVE, 0, 0)


def job(payload: bytes, length: int | None = None) -> bytes:
    """A job's frame. `length`: what to write for it where a chip is used to something else than the truth."""
    body = bytes((_JOB, length or len(payload) + 4)) + payload
    return PREAMBLE + body + crc16(body)


def _scope(command: int, address: int | None) -> tuple[int, int]:
    return (command | _BROADCAST, 0) if address is None else (command, _valid(address))


def _valid(address: int) -> int:
    if not 0 <= address < ADDRESSES:
        raise Misuse(f"chip address out of range: {address}")
    return address


def _command(kind: int, *payload: int) -> bytes:
    body = bytes((kind, len(payload) + 3, *payload))
    return PREAMBLE + body + bytes((crc5(body),))
