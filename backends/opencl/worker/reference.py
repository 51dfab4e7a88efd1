"""What hashlib says a launch has to find: the judge of programs, and the way out when hits are too many to count."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence


def hits_by_hashlib(
    header76: bytes, versions: Sequence[int], target: int, nonces: Iterable[int]
) -> list[tuple[int, int]]:
    """(nonce, version) of every hash whose most significant 32 bits are at most the target's."""
    top = target >> 224
    headers = [(version, struct.pack("<I", version) + header76[4:]) for version in versions]
    return [
        (nonce, version)
        for nonce in nonces
        for version, header in headers
        if _top_word(header + struct.pack("<I", nonce)) <= top
    ]


def _top_word(header: bytes) -> int:
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest()[28:], "little")
