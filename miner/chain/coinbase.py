"""The coinbase: the transaction that pays the miner, cut in two around the bytes a miner may roll.

    stripped form:  prefix | extranonce | suffix

    prefix   version, the null input, script length, script: height, auxiliary bytes, opcode of the extranonce
    suffix   rest of the script: the tag; sequence; outputs: payouts, witness commitment last; locktime

Each part of the script is a push of its own, so that no byte of it counts as a signature operation.
Sources: BIP 34 (height), BIP 22 (coinbaseaux), BIP 141 (commitment and witness), BIP 54 (sequence and locktime).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from miner.chain.commitment import RESERVED_VALUE, is_commitment
from miner.chain.compact_size import compact_size
from miner.chain.errors import CoinbaseError, TransactionError
from miner.chain.hashes import ZERO_HASH, sha256d
from miner.chain.script import push_height, push_prefix
from miner.chain.subsidy import MAX_MONEY
from miner.chain.transaction import NULL_INDEX, SEGWIT_MARKER, Transaction, TxOut

MIN_SCRIPT, MAX_SCRIPT = 2, 100  # bytes of a coinbase's script, by consensus

_VERSION = 2
# BIP 54 wants a locktime of height - 1 that is in force, hence a sequence that is not final. Valid today, too.
_SEQUENCE = 0xFFFFFFFE
_LOCKTIME_IS_TIME = 500_000_000  # from here on a locktime is not a height
_WITNESS = b"\x01" + compact_size(len(RESERVED_VALUE)) + RESERVED_VALUE


@dataclass(frozen=True, slots=True)
class Coinbase:
    """A coinbase but for its extranonce. A pool's two halves make one as well, with segwit=False.

    Methods raise CoinbaseError for an extranonce of the wrong length.
    """

    prefix: bytes
    suffix: bytes
    extranonce_size: int  # bytes
    segwit: bool  # whether its block carries it with a witness

    @classmethod
    def around(
        cls,
        head: bytes,
        extranonce_size: int,
        tail: bytes,
        *,
        outputs: Sequence[TxOut],
        locktime: int = 0,
        commitment: bytes | None = None,
    ) -> Self:
        """Lay out a coinbase whose script is head, extranonce, tail; the commitment becomes the last output.

        `commitment` None stands for a chain without segwit: no commitment and no witness.
        Raises CoinbaseError when the result could not be valid, or a payout could be taken for the commitment.
        """
        script_size = len(head) + extranonce_size + len(tail)
        if not MIN_SCRIPT <= script_size <= MAX_SCRIPT:
            raise CoinbaseError(f"the script of a coinbase has 2 to 100 bytes, not {script_size}")
        _refuse_payouts(outputs)
        if commitment is not None and not is_commitment(commitment):
            raise CoinbaseError(f"not a witness commitment: {commitment.hex()}")
        committed = [] if commitment is None else [TxOut(0, commitment)]
        everything = [*outputs, *committed]
        null_input = ZERO_HASH + NULL_INDEX.to_bytes(4, "little")
        return cls(
            prefix=_VERSION.to_bytes(4, "little") + b"\x01" + null_input + compact_size(script_size) + head,
            suffix=tail
            + _SEQUENCE.to_bytes(4, "little")
            + compact_size(len(everything))
            + b"".join(output.pack() for output in everything)
            + locktime.to_bytes(4, "little"),
            extranonce_size=extranonce_size,
            segwit=commitment is not None,
        )

    def stripped(self, extranonce: bytes) -> bytes:
        """The form without witness, whose double hash is the txid."""
        if len(extranonce) != self.extranonce_size:
            raise CoinbaseError(f"the extranonce has {self.extranonce_size} bytes, not {len(extranonce)}")
        return self.prefix + extranonce + self.suffix

    def with_witness(self, extranonce: bytes) -> bytes:
        """The form that goes into a block; the same as stripped on a chain without segwit."""
        stripped = self.stripped(extranonce)
        if not self.segwit:
            return stripped
        return stripped[:4] + SEGWIT_MARKER + stripped[4:-4] + _WITNESS + stripped[-4:]

    def txid(self, extranonce: bytes) -> bytes:
        """32 bytes in header order: leaf 0 of the merkle tree."""
        return sha256d(self.stripped(extranonce))

    @property
    def weight(self) -> int:
        """In weight units; the same for every extranonce."""
        witness_size = len(SEGWIT_MARKER) + len(_WITNESS) if self.segwit else 0
        return 4 * (len(self.prefix) + self.extranonce_size + len(self.suffix)) + witness_size


def build_coinbase(
    *,
    height: int,
    outputs: Sequence[TxOut],
    extranonce_size: int,
    tag: bytes = b"",
    aux: bytes = b"",
    commitment: bytes | None = None,
) -> Coinbase:
    """The coinbase of a block at `height` that pays `outputs`, in that order.

    `aux` are the decoded values of a template's coinbaseaux, joined. A tag that does not fit in the 100 bytes of the
    script loses its end; nothing else is ever cut. The values of the outputs are the caller's business: less than
    the template's coinbasevalue is lost, more makes the block invalid.
    Raises CoinbaseError, ScriptError or TransactionError for what no valid coinbase can hold.
    """
    if not 0 <= height <= _LOCKTIME_IS_TIME:
        raise CoinbaseError(f"no coinbase for height {height}")
    if not 0 <= extranonce_size <= MAX_SCRIPT:
        raise CoinbaseError(f"no room for an extranonce of {extranonce_size} bytes")
    head = push_height(height) + _push_verbatim(aux)
    if extranonce_size:
        head += push_prefix(extranonce_size)
    used = len(head) + extranonce_size
    if used > MAX_SCRIPT:
        raise CoinbaseError(f"height, coinbaseaux and extranonce need {used} bytes, the script has room for 100")
    tail = _push_tag(tag, MAX_SCRIPT - used)
    if used + len(tail) < MIN_SCRIPT:  # heights up to 16 are one opcode
        tail = b"\x00"
    locktime = max(height - 1, 0)
    return Coinbase.around(head, extranonce_size, tail, outputs=outputs, locktime=locktime, commitment=commitment)


def parse_coinbase(raw: bytes) -> Transaction:
    """Read a coinbase, stripped or not, for instance one put together from a pool's halves.

    Raises CoinbaseError unless it has one input that spends nothing, with a script of 2 to 100 bytes.
    """
    try:
        transaction = Transaction.parse(raw)
    except TransactionError as error:
        raise CoinbaseError(f"the coinbase is {error}") from error
    require_coinbase(transaction)
    return transaction


def require_coinbase(transaction: Transaction) -> None:
    """Raise CoinbaseError unless this transaction may be the first of a block."""
    if not transaction.is_coinbase:
        raise CoinbaseError("not a coinbase: it spends an output")
    size = len(transaction.inputs[0].script_sig)
    if not MIN_SCRIPT <= size <= MAX_SCRIPT:
        raise CoinbaseError(f"the script of a coinbase has 2 to 100 bytes, not {size}")


def _push_tag(tag: bytes, room: int) -> bytes:
    fitting = tag[: max(room - 1, 0)]
    if len(fitting) > 75:  # a longer push costs a second byte
        fitting = tag[: max(room - 2, 75)]
    return _push_verbatim(fitting)


def _push_verbatim(data: bytes) -> bytes:
    """A push in which the bytes themselves appear: the minimal one turns some single bytes into an opcode."""
    return push_prefix(len(data)) + data if data else b""


def _refuse_payouts(outputs: Sequence[TxOut]) -> None:
    if not outputs:
        raise CoinbaseError("a coinbase that pays nobody")
    total = sum(output.value for output in outputs)
    if total > MAX_MONEY:
        raise CoinbaseError(f"the payouts together are {total} satoshi, more than there will ever be")
    for output in outputs:
        if is_commitment(output.script):
            raise CoinbaseError(f"a payout that nodes may take for the witness commitment: {output.script.hex()}")
