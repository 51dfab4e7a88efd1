"""Jobs as the chips get them: midstates (BM1397) or a whole header whose version they roll (BM1362 and later).

Sources: cgminer's driver-gekko.c, mujina's REFERENCE.md; checked against captured jobs with their nonces.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from native import IV, Integers, compress, digest_block, header_block, words

VERSION_SHIFT = 13  # the sixteen bits that chips roll are 28..13 of a header's version


@dataclass(frozen=True, slots=True)
class MidstateJob:
    """A row is a midstate: the chip does not know which version stands behind it."""

    id: int
    states: tuple[tuple[int, ...], ...]  # eight words each
    tail: bytes  # header bytes 64..75

    def rows(self, versions: int) -> int:
        """How many headers differ in more than the nonce."""
        del versions
        return len(self.states)

    def hash(self, row: int, nonce: int) -> int:
        """The double SHA-256 as a number; `nonce` is the header's, little-endian."""
        algebra = Integers()
        swapped = int.from_bytes(nonce.to_bytes(4, "little"), "big")
        first = compress(algebra, self.states[row], header_block(algebra, words(self.tail), swapped))
        digest = compress(algebra, IV, digest_block(algebra, first))
        return int.from_bytes(struct.pack(">8I", *digest), "little")


@dataclass(frozen=True, slots=True)
class HeaderJob:
    """A row is a rolled value: sixteen bits, put into the version above VERSION_SHIFT."""

    id: int
    header76: bytes

    def rows(self, versions: int) -> int:
        return versions

    def version(self, rolled: int) -> int:
        return int.from_bytes(self.header76[:4], "little") | rolled << VERSION_SHIFT

    def hash(self, row: int, nonce: int) -> int:
        header = self.version(row).to_bytes(4, "little") + self.header76[4:] + nonce.to_bytes(4, "little")
        return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")


Job = MidstateJob | HeaderJob


def midstate_job(body: bytes) -> MidstateJob | None:
    """A BM1397's job without its checksum; None: its length does not fit its midstates."""
    job_id, midstates, tail, rest = body[2], body[3], body[8:20], body[20:]
    if midstates not in {1, 4} or len(rest) != 32 * midstates:
        return None
    states = (rest[at : at + 32] for at in range(0, len(rest), 32))
    # nbits, ntime and the last word of the Merkle root come in this order, the header has them in the other
    return MidstateJob(job_id, tuple(tuple(words(state)[::-1]) for state in states), _words_reversed(tail))


def header_job(body: bytes) -> HeaderJob:
    """A job of BM1362 and later, 84 bytes without its checksum."""
    nbits, ntime, merkle, previous, version = body[8:12], body[12:16], body[16:48], body[48:80], body[80:84]
    return HeaderJob(body[2], version + _words_reversed(previous) + _words_reversed(merkle) + ntime + nbits)


def spread(counter: int, mask: int) -> int:
    """The counter's bits, lowest first, under the mask's."""
    value, bit = 0, 1
    while mask >= bit:
        if mask & bit:
            value |= bit if counter & 1 else 0
            counter >>= 1
        bit <<= 1
    return value


def _words_reversed(data: bytes) -> bytes:
    return b"".join(data[at : at + 4] for at in range(len(data) - 4, -1, -4))
