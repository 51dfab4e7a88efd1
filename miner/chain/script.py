"""Pushes of data and numbers in a script, as far as a coinbase needs them.

Sources: BIP 34 (the height that starts a coinbase's script) and Bitcoin Core's CScript, whose encoding of that height
the consensus rule compares byte for byte; BIP 62, rule 3, for minimal pushes.
"""

from __future__ import annotations

from miner.chain.errors import ScriptError

MAX_PUSH = 520  # bytes; MAX_SCRIPT_ELEMENT_SIZE
MAX_HEIGHT = 0x7FFFFFFF

_OP_1NEGATE, _OP_1, _OP_16 = 0x4F, 0x51, 0x60
_OP_PUSHDATA1, _OP_PUSHDATA2 = 0x4C, 0x4D


def push(data: bytes) -> bytes:
    """The shortest script that pushes these bytes; raises ScriptError above 520 bytes."""
    if data == b"\x81":
        return bytes([_OP_1NEGATE])
    if len(data) == 1 and 1 <= data[0] <= 16:
        return bytes([_OP_1 - 1 + data[0]])
    return push_prefix(len(data)) + data


def push_prefix(size: int) -> bytes:
    """What stands before `size` bytes of data, whatever they turn out to be.

    Raises ScriptError unless the size is in 0 .. 520.
    """
    if not 0 <= size <= MAX_PUSH:
        raise ScriptError(f"a push holds 0 to {MAX_PUSH} bytes, not {size}")
    if size < _OP_PUSHDATA1:
        return bytes([size])
    if size <= 0xFF:
        return bytes([_OP_PUSHDATA1, size])
    return bytes([_OP_PUSHDATA2]) + size.to_bytes(2, "little")


def script_number(number: int) -> bytes:
    """A script number: little-endian magnitude, sign in the top bit, as short as possible; zero is empty."""
    if number == 0:
        return b""
    magnitude = abs(number)
    size = magnitude.bit_length() // 8 + 1  # one bit more than the magnitude, for the sign
    sign = 1 << (8 * size - 1) if number < 0 else 0
    return (magnitude | sign).to_bytes(size, "little")


def push_height(height: int) -> bytes:
    """How the script of a coinbase must begin at this height: 0 and 1 .. 16 are single opcodes.

    Raises ScriptError unless the height is in 0 .. 2**31 - 1.
    """
    if not 0 <= height <= MAX_HEIGHT:
        raise ScriptError(f"no block has height {height}")
    return push(script_number(height))


def read_height(script_sig: bytes) -> int:
    """The height at the start of a coinbase's script; raises ScriptError when none stands there minimally.

    Blocks of version 1, before BIP 34, need not have one.
    """
    opcode = script_sig[0] if script_sig else -1
    if _OP_1 <= opcode <= _OP_16:
        return opcode - _OP_1 + 1
    if 0 <= opcode <= 4:
        height = int.from_bytes(script_sig[1 : 1 + opcode], "little")
        if height <= MAX_HEIGHT and script_sig.startswith(push_height(height)):
            return height
    raise ScriptError(f"the script of the coinbase does not start with a height: {script_sig[:6].hex() or 'empty'}")
