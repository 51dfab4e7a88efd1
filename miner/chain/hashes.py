"""The double SHA-256 and the two orders in which its result is written.

Header order is the order of the bytes as hashed: what headers, merkle trees and Stratum branches hold.
Display order is the same 32 bytes reversed, in hex: what people, block explorers and the node's RPC use.
"""

from __future__ import annotations

from hashlib import sha256

from miner.chain.errors import HashError

HASH_SIZE = 32  # bytes
ZERO_HASH = bytes(HASH_SIZE)


def sha256d(data: bytes) -> bytes:
    """SHA-256 applied twice: 32 bytes in header order."""
    return sha256(sha256(data).digest()).digest()


def display(hash32: bytes) -> str:
    """64 lower-case hex digits in display order, of 32 bytes in header order.

    Raises HashError for any other length.
    """
    return require_hash(hash32)[::-1].hex()


def from_display(text: str) -> bytes:
    """32 bytes in header order, of 64 hex digits in display order.

    Raises HashError for anything else, white space between the digits included.
    """
    if len(text) != 2 * HASH_SIZE:
        raise HashError(f"a hash in display order has 64 hex digits, not {len(text)} characters")
    try:
        reversed_hash = bytes.fromhex(text)
    except ValueError as error:
        raise HashError(f"not a hash in hex: {text!r}") from error
    if len(reversed_hash) != HASH_SIZE:  # bytes.fromhex skips blanks
        raise HashError(f"not a hash in hex: {text!r}")
    return reversed_hash[::-1]


def require_hash(hash32: bytes) -> bytes:
    """The same bytes, if they are 32; raises HashError otherwise."""
    if len(hash32) != HASH_SIZE:
        raise HashError(f"a hash has 32 bytes, not {len(hash32)}")
    return hash32
