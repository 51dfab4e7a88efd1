"""Transactions, read strictly: enough to check a template's data and a pool's coinbase.

    version | [00 01] | inputs | outputs | [witnesses] | locktime

With the parts in brackets the bytes give the wtxid; without them ("stripped") the txid, which goes into the header.
Sources: BIP 144 (serialisation), BIP 141 (weight); Bitcoin Core, UnserializeTransaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from miner.chain.compact_size import Reader, compact_size
from miner.chain.errors import EncodingError, TransactionError
from miner.chain.hashes import ZERO_HASH, sha256d
from miner.chain.subsidy import MAX_MONEY

MAX_WEIGHT = 4_000_000  # of a block, hence of anything in it
SEGWIT_MARKER = b"\x00\x01"
NULL_INDEX = 0xFFFFFFFF  # with a zero hash: the coinbase spends nothing

_SMALLEST_INPUT = 41  # bytes: outpoint, empty script, sequence
_SMALLEST_OUTPUT = 9  # bytes: value, empty script


@dataclass(frozen=True, slots=True)
class TxIn:
    """One input, with its witness if it has one."""

    prev_hash: bytes  # txid of what it spends, header order
    prev_index: int
    script_sig: bytes
    sequence: int
    witness: tuple[bytes, ...] = ()

    @property
    def is_null(self) -> bool:
        """Whether it spends nothing, as only a coinbase may."""
        return self.prev_hash == ZERO_HASH and self.prev_index == NULL_INDEX


@dataclass(frozen=True, slots=True)
class TxOut:
    """An amount, in satoshi, and the script that may spend it; raises TransactionError for an impossible amount."""

    value: int
    script: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.value <= MAX_MONEY:
            raise TransactionError(f"an output cannot hold {self.value} satoshi")

    def pack(self) -> bytes:
        """As it stands in a transaction."""
        return self.value.to_bytes(8, "little") + compact_size(len(self.script)) + self.script


@dataclass(frozen=True, slots=True)
class Transaction:
    """What `parse` found, next to the very bytes it found it in."""

    version: int  # 32 raw bits
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    locktime: int
    raw: bytes  # as received, with witnesses
    stripped: bytes  # without them

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read one transaction that fills `raw`; raises TransactionError for anything else."""
        if len(raw) > MAX_WEIGHT:
            raise TransactionError(f"{len(raw)} bytes do not fit in any block")
        reader = Reader(raw)
        transaction = cls.read(reader)
        if reader.remaining:
            raise TransactionError(f"{reader.remaining} bytes too many after the transaction")
        return transaction

    @classmethod
    def read(cls, reader: Reader) -> Self:
        """Read the transaction that comes next; raises TransactionError if none does."""
        try:
            return cls._read(reader)
        except EncodingError as error:
            raise TransactionError(f"not a transaction: {error}") from error

    @classmethod
    def _read(cls, reader: Reader) -> Self:
        start = reader.position
        version = reader.uint(4)
        segwit = reader.starts_with(SEGWIT_MARKER)
        if segwit:
            reader.take(len(SEGWIT_MARKER))
        body_start = reader.position
        inputs = [_read_input(reader) for _ in range(reader.count(_SMALLEST_INPUT))]
        if not inputs:  # or a segwit marker with a flag nobody knows
            raise TransactionError("a transaction without inputs")
        outputs = [_read_output(reader) for _ in range(reader.count(_SMALLEST_OUTPUT))]
        _refuse_outputs(outputs)
        body = reader.since(body_start)
        if segwit:
            inputs = [_with_witness(spent, reader) for spent in inputs]
            if not any(spent.witness for spent in inputs):
                raise TransactionError("a transaction marked as segwit without any witness")
        locktime = reader.take(4)
        raw = reader.since(start)
        return cls(
            version=version,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            locktime=int.from_bytes(locktime, "little"),
            raw=raw,
            stripped=raw[:4] + body + locktime if segwit else raw,
        )

    @property
    def txid(self) -> bytes:
        """Header order; what merkle roots are made of."""
        return sha256d(self.stripped)

    @property
    def wtxid(self) -> bytes:
        """Header order; what the witness commitment is made of. A template calls it `hash`."""
        return sha256d(self.raw)

    @property
    def weight(self) -> int:
        """In weight units: a stripped byte counts four, a witness byte one."""
        return 3 * len(self.stripped) + len(self.raw)

    @property
    def has_witness(self) -> bool:
        """Whether any input has a witness."""
        return len(self.raw) != len(self.stripped)

    @property
    def is_coinbase(self) -> bool:
        """Whether its only input spends nothing."""
        return len(self.inputs) == 1 and self.inputs[0].is_null


def _read_input(reader: Reader) -> TxIn:
    return TxIn(reader.take(32), reader.uint(4), reader.counted(), reader.uint(4))


def _read_output(reader: Reader) -> TxOut:
    return TxOut(reader.uint(8), reader.counted())


def _with_witness(spent: TxIn, reader: Reader) -> TxIn:
    items = tuple(reader.counted() for _ in range(reader.count(1)))
    return TxIn(spent.prev_hash, spent.prev_index, spent.script_sig, spent.sequence, items)


def _refuse_outputs(outputs: list[TxOut]) -> None:
    if not outputs:
        raise TransactionError("a transaction without outputs")
    total = sum(output.value for output in outputs)
    if total > MAX_MONEY:
        raise TransactionError(f"the outputs together hold {total} satoshi, more than there will ever be")
