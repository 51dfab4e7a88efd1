"""The 80-byte block header: the only thing a miner hashes.

     0        4                36               68      72      76     80
     +--------+----------------+----------------+-------+-------+------+
     | version| previous block | merkle root    | time  | nbits | nonce|
     +--------+----------------+----------------+-------+-------+------+

Numbers are little-endian; the two hashes stand in header order. Source: Bitcoin Core, CBlockHeader.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Self

from miner.chain.errors import HeaderError
from miner.chain.hashes import HASH_SIZE, sha256d

HEADER_SIZE = 80  # bytes
ROLLABLE = 0x1FFFE000  # BIP 320: the version bits that nobody signals with

_LAYOUT = struct.Struct("<I32s32sIII")
_UINT32_FIELDS = ("version", "ntime", "nbits", "nonce")
_HASH_FIELDS = ("prev_hash", "merkle_root")


@dataclass(frozen=True, slots=True)
class Header:
    """Six fields, valid by construction; `dataclasses.replace` gives a sibling with another nonce.

    The version is 32 raw bits. A node's JSON shows it signed: mask with 0xffffffff before it comes here.
    """

    version: int
    prev_hash: bytes  # 32, header order
    merkle_root: bytes  # 32, header order
    ntime: int  # seconds since 1970
    nbits: int  # compact target
    nonce: int

    def __post_init__(self) -> None:
        for name in _UINT32_FIELDS:
            number = getattr(self, name)
            if not 0 <= number <= 0xFFFFFFFF:
                raise HeaderError(f"{name} does not fit in 32 bits: {number:#x}")
        for name in _HASH_FIELDS:
            size = len(getattr(self, name))
            if size != HASH_SIZE:
                raise HeaderError(f"{name} has {size} bytes instead of 32")

    @classmethod
    def unpack(cls, raw: bytes) -> Self:
        """Read 80 bytes; raises HeaderError for any other length."""
        if len(raw) != HEADER_SIZE:
            raise HeaderError(f"a header has 80 bytes, not {len(raw)}")
        return cls(*_LAYOUT.unpack(raw))

    def pack(self) -> bytes:
        """The 80 bytes as hashed."""
        return _LAYOUT.pack(self.version, self.prev_hash, self.merkle_root, self.ntime, self.nbits, self.nonce)

    @property
    def hash(self) -> bytes:
        """The block hash: 32 bytes in header order."""
        return sha256d(self.pack())
