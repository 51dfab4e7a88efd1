"""Jobs out and results back: which frame starts a piece of a lease, and which piece a result belongs to.

Two families. The BM1397 takes midstates, one or four of them, each of a version that the host chose; a result names its
job and the midstate. The BM1362, BM1366, BM1368 and BM1370 take the whole header, roll the version themselves under a
mask that a register holds, and report what they rolled.
Source: 256foundation/mujina bm13xx REFERENCE.md, bitaxeorg/ESP-Miner asic/*.c, kanoi/cgminer driver-gekko.c.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from backends.asic.chips.chip import Chip
from backends.asic.chips.decoder import NonceReply
from backends.asic.chips.frames import Register, job, write_register
from backends.asic.chips.lease import Piece, pieces
from backends.asic.chips.pll import CRYSTAL_HZ
from backends.base import Misuse, Work

ID_SPACE = 128  # job ids have seven bits
KEPT = 16  # jobs whose results may still come
RESULTS_MAX = 1 << 14  # of one job: no honest chip comes near

_MIDSTATES = 4  # at once, of the BM1397
_VERSION_SHIFT = 13
_ROLLING_ON = 0x9000_0000
_WORDS = struct.Struct("<8I")

Midstates = Callable[[bytes, Sequence[int]], Any]  # (64 bytes of header, versions) -> (n, 8) words


class Refusal(StrEnum):
    """Why a result counts for nothing, though its frame is whole."""

    UNKNOWN_JOB = "unknown-job"
    OUTSIDE = "outside"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Result:
    """A result and the piece it lies in: full header values."""

    piece: Piece
    nonce: int
    version: int
    core: int
    address: int | None


@dataclass(slots=True)
class _Sent:
    piece: Piece
    results: set[tuple[int, int]] = field(default_factory=set)


class Jobs(ABC):
    """The jobs of one chain. `next` goes on in the lease that `begin` named; `match` knows the last KEPT pieces."""

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._id = 0
        self._sent: dict[int, _Sent] = {}  # by job id, oldest first
        self._left: Iterator[Piece] = iter(())

    def begin(self, work: Work) -> None:
        """Leave the running lease for this one."""
        self._left = self._pieces(work)

    def next(self) -> tuple[Piece, bytes] | None:
        """The next piece and what to write for it; None when the lease is used up."""
        piece = next(self._left, None)
        if piece is None:
            return None
        self._id = (self._id + self._chip.job_step) % ID_SPACE
        frames = self._frames(self._id, piece)
        self._sent.pop(self._id, None)
        self._sent[self._id] = _Sent(piece)
        while len(self._sent) > KEPT:
            del self._sent[next(iter(self._sent))]
        return piece, frames

    def match(self, reply: NonceReply) -> Result | Refusal:
        """What a result says, or why it says nothing."""
        sent = self._sent.get((reply.tag & self._chip.tag_job_mask) >> self._chip.tag_job_shift)
        if sent is None:
            return Refusal.UNKNOWN_JOB
        version = self._version(sent.piece, reply)
        if version is None:
            return Refusal.OUTSIDE
        key = (reply.counter, version)
        if key in sent.results or len(sent.results) >= RESULTS_MAX:
            return Refusal.DUPLICATE
        sent.results.add(key)
        chip = self._chip
        return Result(sent.piece, reply.nonce, version, chip.core(reply.counter), chip.address(reply.counter))

    @abstractmethod
    def seconds(self, piece: Piece, hertz: float, chips: int) -> float:
        """For how long the chips search this piece before they repeat it, or fall silent."""

    @abstractmethod
    def _pieces(self, work: Work) -> Iterator[Piece]: ...

    @abstractmethod
    def _frames(self, number: int, piece: Piece) -> bytes: ...

    @abstractmethod
    def _version(self, piece: Piece, reply: NonceReply) -> int | None:
        """The full version of a result; None for one that was not asked for."""


class MidstateJobs(Jobs):
    """For the BM1397: four versions at a time as midstates, or a single one."""

    def __init__(self, chip: Chip, midstates: Midstates) -> None:
        super().__init__(chip)
        self._midstates = midstates

    def seconds(self, piece: Piece, hertz: float, chips: int) -> float:
        return piece.headers / (self._chip.small_cores * hertz * chips)

    def _pieces(self, work: Work) -> Iterator[Piece]:
        return pieces(work, _MIDSTATES)

    def _frames(self, number: int, piece: Piece) -> bytes:
        work = piece.work
        header = work.header(0, piece.versions[0], piece.ntime)
        return midstate_job(number, header, self._midstates(header[:64], piece.versions))

    def _version(self, piece: Piece, reply: NonceReply) -> int | None:
        slot = reply.tag & ~self._chip.tag_job_mask
        return piece.versions[slot] if slot < len(piece.versions) else None


class HeaderJobs(Jobs):
    """For chips that roll the version themselves: the mask goes ahead of a job whenever it is another one."""

    def __init__(self, chip: Chip) -> None:
        if not chip.version_bits:
            raise Misuse(f"a {chip.name} takes midstates")
        super().__init__(chip)
        self._mask: int | None = None  # what the register holds; None: not known

    def seconds(self, piece: Piece, hertz: float, chips: int) -> float:
        sweeps = -(-(1 << piece.rolled.bit_count()) // self._chip.subcores)
        return sweeps * self._chip.sweep_ticks(hertz, chips) / CRYSTAL_HZ

    def _pieces(self, work: Work) -> Iterator[Piece]:
        return pieces(work, 1, self._chip.version_bits)

    def _frames(self, number: int, piece: Piece) -> bytes:
        setup = b"" if piece.rolled == self._mask else version_rolling(piece.rolled)
        self._mask = piece.rolled
        header = piece.work.header(0, piece.versions[0], piece.ntime)
        return setup + header_job(number, header, self._chip.job_length)

    def _version(self, piece: Piece, reply: NonceReply) -> int | None:
        bits = (reply.version_bits or 0) << _VERSION_SHIFT
        return None if bits & ~piece.rolled else piece.versions[0] | bits


def version_rolling(mask: int) -> bytes:
    """Switch it on, under these bits of the version; also makes replies 11 bytes long."""
    return write_register(Register.VERSION_ROLLING, _ROLLING_ON | mask >> _VERSION_SHIFT)


def header_job(number: int, header: bytes, length: int | None = None) -> bytes:
    """The job of a whole header of 80 bytes, whose nonce is ignored: chips begin at 0."""
    version, prev_hash, merkle_root, ntime, nbits = struct.unpack_from("<4s32s32s4s4s", header)
    hashes = _words_reversed(merkle_root) + _words_reversed(prev_hash)
    return job(bytes((number, 1)) + bytes(4) + nbits + ntime + hashes + version, length)


def midstate_job(number: int, header: bytes, states: Sequence[Sequence[int]]) -> bytes:
    """The job of these SHA-256 states after 64 bytes, and of the rest of the header."""
    merkle_end, ntime, nbits = struct.unpack_from("<4s4s4s", header, 64)
    wire = np.asarray(states, ">u4")[:, ::-1].tobytes()  # each with its last word first
    return job(b"".join((bytes((number, len(states))), bytes(4), nbits, ntime, merkle_end, wire)))


def _words_reversed(field_: bytes) -> bytes:
    return _WORDS.pack(*reversed(_WORDS.unpack(field_)))
