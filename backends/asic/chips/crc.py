"""The two checksums of Bitmain's serial frames.

Source: kanoi/cgminer driver-gekko.c, 256foundation/mujina bm13xx REFERENCE.md; checked against captured frames.
"""

from __future__ import annotations

import binascii

_CRC5_POLY, _CRC5_INIT = 0x05, 0x1F


def _step5(crc: int, byte: int) -> int:
    for bit in range(7, -1, -1):
        feedback = (crc >> 4 ^ byte >> bit) & 1
        crc = crc << 1 & 0x1F
        if feedback:
            crc ^= _CRC5_POLY
    return crc


_CRC5 = tuple(bytes(_step5(crc, byte) for byte in range(256)) for crc in range(32))


def crc5(data: bytes) -> int:
    """CRC-5 of whole bytes, most significant bit first, 0..31.

    Of bytes that end in their own CRC (a reply, with its type in the three bits above) it is 0.
    """
    crc = _CRC5_INIT
    for byte in data:
        crc = _CRC5[crc][byte]
    return crc


def crc16(data: bytes) -> bytes:
    """CRC-16/CCITT-FALSE as a job carries it: two bytes, the high one first."""
    return binascii.crc_hqx(data, 0xFFFF).to_bytes(2, "big")
