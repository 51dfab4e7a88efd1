"""Base58check: the text form of addresses from before segwit, and of private and extended keys.

The payload is followed by the first four bytes of its double SHA-256; each leading zero byte becomes a leading 1.
Source: Bitcoin Core, base58.cpp.
"""

from __future__ import annotations

from miner.chain.errors import AddressError
from miner.chain.hashes import sha256d

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: digit for digit, character in enumerate(_ALPHABET)}
_CHECKSUM_SIZE = 4  # bytes
_LONGEST = 128  # characters; an extended key has 112, and decoding costs the square of the length


def base58check_decode(text: str) -> bytes:
    """The payload, its checksum verified and removed.

    Raises AddressError for a foreign character, a wrong checksum or more than 128 characters. The message does not
    repeat the text: what was mistyped may be a private key.
    """
    if len(text) > _LONGEST:
        raise AddressError(f"{len(text)} characters are too many for base58")
    number = 0
    for character in text:
        digit = _DIGITS.get(character)
        if digit is None:
            raise AddressError("it has a character that base58 does not use")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    raw = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    payload, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    if len(raw) <= _CHECKSUM_SIZE or sha256d(payload)[:_CHECKSUM_SIZE] != checksum:
        raise AddressError("its checksum is wrong; look for a mistyped character")
    return payload
