"""Segwit addresses: bech32 for witness version 0, bech32m from version 1 on.

    hrp | 1 | version, 5 bits | program, 5 bits a character, zero-padded | checksum, 6 characters

Sources: BIP 173 (bech32), BIP 350 (bech32m), BIP 141 (versions and lengths of programs).
"""

from __future__ import annotations

from miner.chain.errors import AddressError

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32, _BECH32M = 1, 0x2BC830A3  # what the checksum leaves over
_CHECKSUM_LENGTH = 6  # characters
_LONGEST = 90  # characters


def segwit_decode(text: str, hrp: str) -> tuple[int, bytes]:
    """The witness version, 0 .. 16, and the program, 2 .. 40 bytes, of an address that begins with this lower-case hrp.

    Raises AddressError for anything BIP 173 or BIP 350 calls invalid.
    """
    values, residue = _decode(text, hrp)
    if not values:
        raise AddressError("there is nothing between its prefix and its checksum")
    version, program = values[0], _to_bytes(values[1:])
    if version > 16:
        raise AddressError(f"witness version {version} does not exist")
    if not 2 <= len(program) <= 40:
        raise AddressError(f"its witness program has {len(program)} bytes instead of 2 to 40")
    if version == 0 and len(program) not in (20, 32):
        raise AddressError(f"its witness program has {len(program)} bytes; version 0 has 20 or 32")
    if residue != (_BECH32M if version else _BECH32):
        raise AddressError(f"witness version {version} comes with the other kind of checksum (bech32 or bech32m)")
    return version, program


def _decode(text: str, hrp: str) -> tuple[list[int], int]:
    if len(text) > _LONGEST:
        raise AddressError(f"it has {len(text)} characters, more than {_LONGEST}")
    if not text.isascii():  # Unicode has letters that lower() turns into ASCII ones
        raise AddressError("it has a character outside ASCII")
    if text not in (text.lower(), text.upper()):
        raise AddressError("it mixes upper and lower case")
    found, _, data = text.lower().rpartition("1")
    if found != hrp or len(data) < _CHECKSUM_LENGTH:
        raise AddressError(f"it is not of the form {hrp}1 and at least {_CHECKSUM_LENGTH} characters")
    values = []
    for character in data:
        value = _VALUES.get(character)
        if value is None:
            raise AddressError(f"it has the character {character!r}, which bech32 does not use")
        values.append(value)
    residue = _polymod([*_expand(hrp), *values])
    if residue not in (_BECH32, _BECH32M):
        raise AddressError("its checksum is wrong; look for a mistyped character")
    return values[:-_CHECKSUM_LENGTH], residue


def _expand(hrp: str) -> list[int]:
    codes = hrp.encode("ascii")
    return [code >> 5 for code in codes] + [0] + [code & 31 for code in codes]


def _polymod(values: list[int]) -> int:
    """The remainder of the BCH code over GF(32), as a 30-bit number."""
    remainder = 1
    for value in values:
        top = remainder >> 25
        remainder = (remainder & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                remainder ^= generator
    return remainder


def _to_bytes(values: list[int]) -> bytes:
    """Regroup 5-bit values to bytes; what is left over must be fewer than 5 bits, all zero."""
    bits = 0
    for value in values:
        bits = bits << 5 | value
    size, padding = divmod(5 * len(values), 8)
    if padding > 4:
        raise AddressError("it is padded with more than 4 bits")
    if bits & ((1 << padding) - 1):
        raise AddressError("its padding is not zero")
    return (bits >> padding).to_bytes(size, "big")
