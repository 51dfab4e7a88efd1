"""Whole blocks: put together for submission, and read back for a second opinion before it.

The way out is a plain join, because every millisecond counts once a nonce is found. The way back shares nothing with
it: it parses the bytes about to leave and computes root, commitment and weight anew.
Sources: BIP 141 (commitment, weight), BIP 144 (serialisation); Bitcoin Core, CheckBlock and ContextualCheckBlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from miner.chain.coinbase import require_coinbase
from miner.chain.commitment import COMMITMENT_SIZE, commitment_script, find_commitment
from miner.chain.compact_size import Reader, compact_size
from miner.chain.errors import BlockError, CoinbaseError, EncodingError, MerkleError, TransactionError
from miner.chain.hashes import display
from miner.chain.header import HEADER_SIZE, Header
from miner.chain.merkle import merkle_root
from miner.chain.transaction import MAX_WEIGHT, Transaction

_SMALLEST_TRANSACTION = 60  # bytes: one empty input, one empty output


def serialise_block(header: Header, coinbase: bytes, transactions: Sequence[bytes]) -> bytes:
    """The bytes that submitblock takes: the coinbase with its witness, then the others as the template has them."""
    return b"".join((header.pack(), compact_size(1 + len(transactions)), coinbase, *transactions))


@dataclass(frozen=True, slots=True)
class Block:
    """A parsed block; `check` says whether its parts belong together."""

    header: Header
    transactions: tuple[Transaction, ...]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read one block that fills `raw`; raises BlockError for anything else."""
        if len(raw) > MAX_WEIGHT:
            raise BlockError(f"{len(raw)} bytes are more than any block may have")
        reader = Reader(raw)
        try:
            header = Header.unpack(reader.take(HEADER_SIZE))
            count = reader.count(_SMALLEST_TRANSACTION)
            transactions = tuple(Transaction.read(reader) for _ in range(count))
        except (EncodingError, TransactionError) as error:
            raise BlockError(f"not a block: {error}") from error
        if reader.remaining:
            raise BlockError(f"{reader.remaining} bytes too many after the block")
        return cls(header, transactions)

    @property
    def size(self) -> int:
        """In bytes, with witnesses."""
        return self._overhead + sum(len(transaction.raw) for transaction in self.transactions)

    @property
    def stripped_size(self) -> int:
        """In bytes, without witnesses."""
        return self._overhead + sum(len(transaction.stripped) for transaction in self.transactions)

    @property
    def weight(self) -> int:
        """In weight units; at most 4,000,000."""
        return 3 * self.stripped_size + self.size

    def check(self) -> None:
        """Raise BlockError unless coinbase, merkle root, witness commitment and weight are as consensus wants them.

        Proof of work, amounts, scripts and signatures are not looked at.
        """
        try:
            self._check_coinbase()
            self._check_merkle_root()
            self._check_witnesses()
        except (CoinbaseError, MerkleError) as error:
            raise BlockError(str(error)) from error
        if self.weight > MAX_WEIGHT:
            raise BlockError(f"weight {self.weight} is above {MAX_WEIGHT}")

    @property
    def _overhead(self) -> int:
        return HEADER_SIZE + len(compact_size(len(self.transactions)))

    def _check_coinbase(self) -> None:
        if not self.transactions:
            raise BlockError("a block without transactions")
        require_coinbase(self.transactions[0])
        for transaction in self.transactions[1:]:
            if any(spent.is_null for spent in transaction.inputs):
                raise BlockError(f"a second coinbase: {display(transaction.txid)}")

    def _check_merkle_root(self) -> None:
        root = merkle_root([transaction.txid for transaction in self.transactions])
        if root != self.header.merkle_root:
            raise BlockError(f"merkle root {display(self.header.merkle_root)} in the header, {display(root)} by count")

    def _check_witnesses(self) -> None:
        coinbase, *others = self.transactions
        found = find_commitment(output.script for output in coinbase.outputs)
        if found is None:
            if any(transaction.has_witness for transaction in self.transactions):
                raise BlockError("a block with witnesses but no witness commitment")
            return
        witness = coinbase.inputs[0].witness
        if len(witness) != 1 or len(witness[0]) != 32:
            raise BlockError("the coinbase commits to witnesses, but its own is not one item of 32 bytes")
        expected = commitment_script([transaction.wtxid for transaction in others], witness[0])
        if found[:COMMITMENT_SIZE] != expected:
            raise BlockError(f"witness commitment {found.hex()} in the coinbase, {expected.hex()} by count")
