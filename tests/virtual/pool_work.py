"""Jobs of a made-up chain for the virtual pool: valid coinbases, branches, a new parent with each clean job.

A recorded job can take their place: `Recorded` gives out the notify parameters of a capture as they were.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

UNREACHABLE_NBITS = 0x1705AE3A  # mainnet's of 2023: no share of a test is a block
ANYONE_NBITS = 0x207FFFFF  # regtest's: every second hash is a block
PAYOUT_SCRIPT = bytes.fromhex("0014" + "ab" * 20)
SUBSIDY = 312_500_000
TAG = b"/virtual/"
SEQUENCE, SEQUENCE_SIZE = b"\xff" * 4, 4
LOCKTIME = bytes(4)


class Layout(Enum):
    """Where a pool puts the extranonces into its coinbase, or what else is odd about it."""

    SCRIPT = auto()  # inside the script: most pools
    SEQUENCE = auto()  # the last four bytes of extranonce2 are the sequence: F2Pool
    OUTPUT = auto()  # in an output without value: OCEAN, DATUM gateways
    LAST = auto()  # at the end of the last output, only the locktime follows: p2pool
    TIMED = auto()  # a time follows the version, as in Peercoin's transactions
    WITNESS = auto()  # written with a witness
    NONSENSE = auto()  # no transaction at all


class Template(Protocol):
    """What the pool works on; each client gets it with coinbase parts around extranonces of its own size."""

    @property
    def id(self) -> str: ...
    @property
    def clean(self) -> bool: ...
    def params(self, extranonce_size: int) -> list[Any]:
        """The nine parameters of mining.notify for extranonces of so many bytes together."""
        ...


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A template of the made-up chain."""

    id: str
    prev_hash: bytes  # 32, header order
    height: int
    version: int
    nbits: int
    ntime: int
    branches: tuple[bytes, ...]
    clean: bool
    payout_script: bytes
    layout: Layout = Layout.SCRIPT

    def params(self, extranonce_size: int) -> list[Any]:
        before, after = self._coinbase(extranonce_size)
        return [
            self.id,
            b"".join(self.prev_hash[start : start + 4][::-1] for start in range(0, 32, 4)).hex(),
            before.hex(),
            after.hex(),
            [branch.hex() for branch in self.branches],
            f"{self.version:08x}",
            f"{self.nbits:08x}",
            f"{self.ntime:08x}",
            self.clean,
        ]

    def _coinbase(self, extranonce_size: int) -> tuple[bytes, bytes]:
        if self.layout is Layout.NONSENSE:
            return b"no transaction: ", b", and " + self.prev_hash
        height = self.height.to_bytes(self.height.bit_length() // 8 + 1, "little")
        head = bytes([len(height)]) + height
        commitment = b"\x6a\x24\xaa\x21\xa9\xed" + hashlib.sha256(b"witnesses of " + self.prev_hash).digest()
        payouts = [_output(SUBSIDY, self.payout_script), _output(0, commitment)]
        match self.layout:
            case Layout.SEQUENCE:
                script = head + TAG
                before = self._head(len(script) + extranonce_size - SEQUENCE_SIZE) + script
                return before, _outputs(payouts) + LOCKTIME
            case Layout.OUTPUT | Layout.LAST:
                script = head + TAG
                holder = _output(0, b"\x6a" + bytes([extranonce_size]) + bytes(extranonce_size))[:-extranonce_size]
                before = self._head(len(script)) + script + SEQUENCE
                if self.layout is Layout.LAST:
                    return before + _outputs([*payouts, holder]), LOCKTIME
                return before + _outputs([holder], more=len(payouts)), b"".join(payouts) + LOCKTIME
            case _:
                script = head + bytes([extranonce_size])
                before = self._head(len(script) + extranonce_size + len(TAG)) + script
                witness = b"\x01\x20" + bytes(32) if self.layout is Layout.WITNESS else b""
                return before, TAG + SEQUENCE + _outputs(payouts) + witness + LOCKTIME

    def _head(self, script_size: int) -> bytes:
        version = struct.pack("<i", 2)
        match self.layout:
            case Layout.TIMED:
                version += struct.pack("<I", self.ntime)
            case Layout.WITNESS:
                version += b"\x00\x01"
        return version + b"\x01" + bytes(32) + b"\xff" * 4 + bytes([script_size])


def _output(value: int, script: bytes) -> bytes:
    return struct.pack("<q", value) + bytes([len(script)]) + script


def _outputs(written: list[bytes], more: int = 0) -> bytes:
    """These outputs behind their number, which counts `more` that the caller adds."""
    return bytes([len(written) + more]) + b"".join(written)


@dataclass(frozen=True, slots=True)
class Recorded:
    """The notify parameters of a real conversation."""

    captured: Sequence[Any]

    @property
    def id(self) -> str:
        return str(self.captured[0])

    @property
    def clean(self) -> bool:
        return bool(self.captured[8])

    def params(self, extranonce_size: int) -> list[Any]:
        return list(self.captured)


@dataclass(slots=True)
class Chain:
    """Where made-up templates come from: the parent changes with each clean one."""

    height: int = 840_000
    _jobs: int = 0

    def template(
        self,
        *,
        clean: bool,
        ntime: int,
        version: int,
        nbits: int,
        branches: int,
        payout_script: bytes,
        layout: Layout = Layout.SCRIPT,
        job_id: str | None = None,
    ) -> MadeUp:
        self._jobs += 1
        self.height += clean
        parent = hashlib.sha256(b"parent of block %d" % self.height).digest()
        return MadeUp(
            id=f"{self._jobs:x}" if job_id is None else job_id,
            prev_hash=parent[:24] + bytes(8),
            height=self.height,
            version=version,
            nbits=nbits,
            ntime=ntime,
            branches=tuple(
                hashlib.sha256(b"branch %d of %d" % (level, self._jobs)).digest() for level in range(branches)
            ),
            clean=clean,
            payout_script=payout_script,
            layout=layout,
        )
