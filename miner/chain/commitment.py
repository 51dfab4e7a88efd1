"""The witness commitment: the coinbase output that ties the witnesses of a block to its header.

    6a 24 aa21a9ed sha256d(witness root || reserved value)

The witness root is the merkle root over wtxids, with zero in place of the coinbase's own, so it does not depend on
the extranonce. The reserved value is the only item of the coinbase's witness; all zero by custom. Source: BIP 141.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from miner.chain.hashes import ZERO_HASH, sha256d
from miner.chain.merkle import merkle_root

RESERVED_VALUE = bytes(32)
COMMITMENT_SIZE = 38  # bytes; more may follow, as the solution of a signet block does

_HEADER = bytes.fromhex("6a24aa21a9ed")  # OP_RETURN, push of 36, the tag


def witness_commitment(wtxids: Sequence[bytes]) -> bytes:
    """The script of the commitment output, from the wtxids (header order) of everything but the coinbase.

    Raises MerkleError when one repeats, HashError when one is not 32 bytes.
    """
    return commitment_script(wtxids, RESERVED_VALUE)


def commitment_script(wtxids: Sequence[bytes], reserved_value: bytes) -> bytes:
    """The same for a block of somebody else, whose reserved value need not be zero."""
    witness_root = merkle_root([ZERO_HASH, *wtxids])
    return _HEADER + sha256d(witness_root + reserved_value)


def is_commitment(script: bytes) -> bool:
    """Whether a node would take an output with this script for the commitment."""
    return len(script) >= COMMITMENT_SIZE and script.startswith(_HEADER)


def find_commitment(scripts: Iterable[bytes]) -> bytes | None:
    """The commitment among a coinbase's output scripts: the last that looks like one, as BIP 141 has it."""
    found = None
    for script in scripts:
        if is_commitment(script):
            found = script
    return found
