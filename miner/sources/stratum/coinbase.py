"""A pool's coinbase, read from its two halves: enough to know that it is one, whom it pays, and where it can vary.

    version | 01 | 00*32 ffffffff | length | height .. extranonce1 extranonce2 .. | sequence | outputs | locktime

`miner.chain.transaction` reads any transaction into objects; this walks over one kind in a few slices, because a pool
may pay thousands of miners, and new work waits for nobody. No witness: what a pool's merkle branch needs is the txid.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from miner.chain.hashes import ZERO_HASH
from miner.chain.subsidy import MAX_MONEY
from miner.sources.stratum.errors import BadJob

SCRIPT_START = 4 + 1 + 32 + 4 + 1  # the script's length is one byte: it has 2 to 100
_NULL_INPUT = b"\x01" + ZERO_HASH + b"\xff\xff\xff\xff"
_VALUE_AND_SIZE = struct.Struct("<QB")
_WITNESS_MARKER = b"\x00\x01"


@dataclass(frozen=True, slots=True)
class PoolCoinbase:
    """What was read; `outputs` are values in satoshi and their scripts."""

    script: bytes
    outputs: tuple[tuple[int, bytes], ...]

    @property
    def height(self) -> int | None:
        """What the script begins with (BIP 34); None where that is no height."""
        size = self.script[0]
        if 0x51 <= size <= 0x60:
            return size - 0x50
        if not 1 <= size <= 4 or len(self.script) <= size:
            return None
        height = int.from_bytes(self.script[1 : 1 + size], "little", signed=True)
        return height if height >= 0 else None

    def pays(self, script: bytes) -> bool:
        """Whether any output with a value belongs to this script."""
        return any(value and owner == script for value, owner in self.outputs)


def read_coinbase(raw: bytes) -> PoolCoinbase:
    """Raises BadJob for what no block may begin with."""
    if raw.startswith(_WITNESS_MARKER, 4):
        raise BadJob("its coinbase has a witness")
    if not raw.startswith(_NULL_INPUT, 4) or len(raw) <= SCRIPT_START:
        raise BadJob("its coinbase is none: it does not spend nothing, once")
    size = raw[SCRIPT_START - 1]
    if not 2 <= size <= 100:
        raise BadJob(f"the script of its coinbase has {size} bytes, not 2 to 100")
    script_end = SCRIPT_START + size
    outputs, worth, end = _outputs(raw, script_end + 4)
    if len(raw) != end + 4:
        raise BadJob("its coinbase does not end where its outputs do")
    if not outputs or worth > MAX_MONEY:
        raise BadJob("its coinbase pays nobody, or more than there is")
    return PoolCoinbase(raw[SCRIPT_START:script_end], tuple(outputs))


def _outputs(raw: bytes, at: int) -> tuple[list[tuple[int, bytes]], int, int]:
    """The outputs, what they are worth together, where they end. One pass, no check twice: there may be thousands."""
    count, at = _compact(raw, at)
    outputs: list[tuple[int, bytes]] = []
    worth = 0
    try:
        for _ in range(count):
            value, size = _VALUE_AND_SIZE.unpack_from(raw, at)
            at += 9
            if size >= 0xFD:
                size, at = _compact(raw, at - 1)
            outputs.append((value, raw[at : at + size]))
            worth += value
            at += size
    except struct.error:
        at = len(raw) + 1
    if at > len(raw):
        raise BadJob("its coinbase ends inside of an output")
    return outputs, worth, at


def _compact(raw: bytes, at: int) -> tuple[int, int]:
    """A compact size and where it ends; 5 and 9 bytes are for more than a coinbase holds."""
    if at >= len(raw):
        raise BadJob("its coinbase is too short")
    first = raw[at]
    if first < 0xFD:
        return first, at + 1
    number = int.from_bytes(raw[at + 1 : at + 3], "little")
    if first != 0xFD or number < 0xFD or at + 3 > len(raw):
        raise BadJob("its coinbase has a length that is not in its shortest form, or too long")
    return number, at + 3
