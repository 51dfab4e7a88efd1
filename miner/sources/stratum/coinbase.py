"""A pool's coinbase, read as far as an operator wants to know it: its height and whom it pays.

    version | 01 | 00*32 ffffffff | length | height .. | sequence | outputs | locktime

What a coinbase looks like is the pool's affair, and a job is mined whether or not its coinbase can be read. Pools put
the extranonces in different places (docs/quirks.md):

    most       inside the script
    F2Pool     at the end of the script, and on into the sequence
    OCEAN      in an output without value
    p2pool     at the end of the last output

`miner.chain.transaction` reads any transaction into objects. This module walks over one kind in a few slices, because
a coinbase may pay thousands of miners, and new work waits for the result. It reads no witness: the merkle branch of a
job needs the txid.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from miner.chain.hashes import ZERO_HASH
from miner.chain.subsidy import MAX_MONEY
from miner.sources.stratum.errors import OddCoinbase

SCRIPT_START = 4 + 1 + 32 + 4 + 1  # the script's length is one byte: it has 2 to 100
_NULL_INPUT = b"\x01" + ZERO_HASH + b"\xff\xff\xff\xff"
_VALUE_AND_SIZE = struct.Struct("<QB")
_WITNESS_MARKER = b"\x00\x01"
_VALUE_SIZE, _SEQUENCE_SIZE, _LOCKTIME_SIZE = 8, 4, 4
_LONG = 0xFD  # from here on a size takes three bytes


@dataclass(frozen=True, slots=True)
class PoolCoinbase:
    """What was read: the script, and per output its value in satoshi and its script.

    An output that holds part of the extranonces is left out, since every share writes other bytes there. `oddity` is
    empty, or the reason why the coinbase could not be read; the other fields are empty then.
    """

    script: bytes = b""
    outputs: tuple[tuple[int, bytes], ...] = ()
    height: int | None = None  # BIP 34; None where the script begins with no height
    oddity: str = ""

    def pays(self, script: bytes) -> bool:
        """Whether every share of the job pays this script, in an output that has a value."""
        return any(value and owner == script for value, owner in self.outputs)


def read_coinbase(raw: bytes, start: int = 0, end: int = 0) -> PoolCoinbase:
    """Read a coinbase whose extranonces are the bytes from `start` up to `end`; by default it has none.

    Raises OddCoinbase for bytes that are no coinbase, and for extranonces that do not lie in one script: where they
    cover a length, a count or a value, the coinbase of each share reads differently.
    """
    if raw.startswith(_WITNESS_MARKER, 4):
        raise OddCoinbase("it is written with a witness")
    if not raw.startswith(_NULL_INPUT, 4) or len(raw) <= SCRIPT_START:
        raise OddCoinbase("it does not begin as a coinbase does")
    size = raw[SCRIPT_START - 1]
    if not 2 <= size <= 100:
        raise OddCoinbase(f"its script has {size} bytes, not 2 to 100")
    script_end = SCRIPT_START + size
    script = raw[SCRIPT_START:script_end]
    count, outputs_start = _compact(raw, script_end + _SEQUENCE_SIZE)
    outputs, worth, outputs_end = _outputs(raw, count, outputs_start)
    if len(raw) != outputs_end + _LOCKTIME_SIZE:
        raise OddCoinbase("it does not end where its outputs do")
    if not outputs or worth > MAX_MONEY:
        raise OddCoinbase("it pays nobody, or more than there is")
    fixed = script  # up to the extranonces
    if SCRIPT_START <= start < end <= script_end + _SEQUENCE_SIZE:
        fixed = script[: start - SCRIPT_START]
    elif start < end:
        outputs = _without(outputs, outputs_start, start, end)
    return PoolCoinbase(script, tuple(outputs), _height(fixed))


def _height(script: bytes) -> int | None:
    """The height at the beginning of these bytes of the script."""
    size = script[0] if script else 0
    if 0x51 <= size <= 0x60:
        return size - 0x50
    if not 1 <= size <= 4 or len(script) <= size:
        return None
    height = int.from_bytes(script[1 : 1 + size], "little", signed=True)
    return height if height >= 0 else None


def _outputs(raw: bytes, count: int, at: int) -> tuple[list[tuple[int, bytes]], int, int]:
    """The outputs, their total value, and where they end. One pass without repeated checks: there may be thousands."""
    outputs: list[tuple[int, bytes]] = []
    worth = 0
    try:
        for _ in range(count):
            value, size = _VALUE_AND_SIZE.unpack_from(raw, at)
            at += 9
            if size >= _LONG:
                size, at = _compact(raw, at - 1)
            outputs.append((value, raw[at : at + size]))
            worth += value
            at += size
    except struct.error:
        at = len(raw) + 1
    if at > len(raw):
        raise OddCoinbase("it ends inside of an output")
    return outputs, worth, at


def _without(outputs: list[tuple[int, bytes]], at: int, start: int, end: int) -> list[tuple[int, bytes]]:
    """The outputs but for the one whose script holds the extranonces; `at` is where the first output begins.

    Raises OddCoinbase where no script holds all of them.
    """
    for number, (_, script) in enumerate(outputs):
        at += _VALUE_SIZE + (1 if len(script) < _LONG else 3)
        if at <= start and end <= at + len(script):
            return outputs[:number] + outputs[number + 1 :]
        at += len(script)
    raise OddCoinbase("its extranonces do not lie in one script")


def _compact(raw: bytes, at: int) -> tuple[int, int]:
    """A compact size and where it ends; 5 and 9 bytes are for more than a coinbase holds."""
    if at >= len(raw):
        raise OddCoinbase("it is too short")
    first = raw[at]
    if first < _LONG:
        return first, at + 1
    number = int.from_bytes(raw[at + 1 : at + 3], "little")
    if first != _LONG or number < _LONG or at + 3 > len(raw):
        raise OddCoinbase("it has a length that is not in its shortest form, or too long")
    return number, at + 3
