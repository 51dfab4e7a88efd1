"""Frames on the wire of BM13xx chips with a preamble, from the chip's side.

Sources: mujina's BM13xx REFERENCE.md; checked against captured frames (tests/vectors/usb_asic_virtual.json).
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass

_TO_CHIP, _TO_HOST = b"\x55\xaa", b"\xaa\x55"
JOB = 0x21
_SHORT, _LONG = 5, 9  # bytes after the preamble
_TYPES = {(0, _SHORT), (0, _LONG), (1, _LONG), (2, _SHORT), (3, _SHORT), (3, _LONG)}  # command, length
_NONCE_TYPE = 0x80


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose checksum is right: all bytes after the preamble but the checksum."""

    body: bytes

    @property
    def is_job(self) -> bool:
        return self.body[0] == JOB

    @property
    def to_all(self) -> bool:
        return bool(self.body[0] & 0x10)

    @property
    def command(self) -> int:
        """0 set address, 1 write, 2 read, 3 inactive."""
        return self.body[0] & 0x0F

    @property
    def address(self) -> int:
        return self.body[2]

    @property
    def register(self) -> int:
        return self.body[3]

    @property
    def value(self) -> int:
        return int.from_bytes(self.body[4:8], "big")


def crc5(data: bytes, bits: int | None = None) -> int:
    """Over the first `bits` bits, all of them if None."""
    crc = 0x1F
    for n in range(8 * len(data) if bits is None else bits):
        bit = data[n >> 3] >> (7 - (n & 7)) & 1
        crc = (crc << 1 & 0x1F) ^ (0x05 if crc >> 4 ^ bit else 0)
    return crc


def reply(payload: bytes) -> bytes:
    """A register's answer: value, chip address, register, filling."""
    return _closed(payload, 0)


def nonce_reply(payload: bytes) -> bytes:
    """A nonce: its four bytes, excess, job, and from BM1362 on the rolled version bits."""
    return _closed(payload, _NONCE_TYPE)


def take_frame(buffer: bytearray, job_length: int | None) -> Frame | None:
    """The first frame with a right checksum, taken from the buffer with all before it; None: not yet.

    job_length: bytes of a job after the preamble; None: the frame's own length byte says it (BM1397).
    """
    while (start := buffer.find(_TO_CHIP)) >= 0:
        del buffer[:start]
        if len(buffer) < 4:
            return None
        length = _length(buffer[2], buffer[3], job_length)
        if length is not None and len(buffer) < 2 + length:
            return None
        body = bytes(buffer[2 : 2 + length]) if length else b""
        if body and _right(body):
            del buffer[: 2 + len(body)]
            return Frame(body[: -2 if body[0] == JOB else -1])
        del buffer[:2]  # not a frame of ours: the next preamble may lie inside
    del buffer[: -1 if buffer.endswith(_TO_CHIP[:1]) else len(buffer)]
    return None


def _length(header: int, told: int, job_length: int | None) -> int | None:
    if header == JOB:
        return job_length or (told if told in {0x36, 0x96} else None)
    return told if header & 0x60 == 0x40 and (header & 0x0F, told) in _TYPES else None


def _right(body: bytes) -> bool:
    if body[0] == JOB:
        return binascii.crc_hqx(body[:-2], 0xFFFF) == int.from_bytes(body[-2:], "big")
    return crc5(body[:-1]) == body[-1]


def _closed(payload: bytes, kind: int) -> bytes:
    bits = 8 * len(payload) + 3
    return _TO_HOST + payload + bytes((kind | crc5(payload + bytes((kind,)), bits),))
