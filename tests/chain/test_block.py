from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import (
    Block,
    BlockError,
    Header,
    Transaction,
    TxOut,
    build_coinbase,
    compact_size,
    display,
    merkle_root,
    serialise_block,
    witness_commitment,
)

SPEND = (
    bytes.fromhex("0200000001") + b"\x11" * 32 + bytes(5) + b"\xff" * 4 + b"\x01" + bytes(8) + b"\x01\x51" + bytes(4)
)
WITNESSED = SPEND[:4] + b"\x00\x01" + SPEND[4:-4] + b"\x01\x01\xaa" + SPEND[-4:]


def block_of(coinbase: bytes, *others: bytes) -> Block:
    """A block whose header is right about its transactions; without proof of work."""
    txids = [Transaction.parse(raw).txid for raw in (coinbase, *others)]
    header = Header(0x20000000, bytes(32), merkle_root(txids), 1, 0x207FFFFF, 0)
    return Block.parse(serialise_block(header, coinbase, others))


def coinbase_for(*others: bytes, commit: bool = True) -> bytes:
    """A coinbase that commits to the witnesses of the other transactions, if to anything."""
    commitment = witness_commitment([Transaction.parse(raw).wtxid for raw in others]) if commit else None
    built = build_coinbase(height=500, outputs=[TxOut(1, b"\x51")], extranonce_size=4, commitment=commitment)
    return built.with_witness(b"\xaa" * 4)


@pytest.mark.golden("gbt")
def test_a_template_becomes_the_block_the_node_accepted(vector: dict[str, Any]) -> None:
    header = Header.unpack(bytes.fromhex(vector["header_hex"]))
    others = [bytes.fromhex(entry["data"]) for entry in vector["template"]["transactions"]]
    raw = serialise_block(header, bytes.fromhex(vector["coinbase_with_witness"]), others)
    assert raw.hex() == vector["block_hex"]


@pytest.mark.golden("gbt")
def test_an_accepted_block_is_read_back_and_passes_its_check(vector: dict[str, Any]) -> None:
    block = Block.parse(bytes.fromhex(vector["block_hex"]))
    block.check()
    assert display(block.header.hash) == vector["block_hash"]
    assert display(block.header.merkle_root) == vector["merkle_root"]
    assert display(block.transactions[0].txid) == vector["coinbase_txid"]
    assert (block.size, block.stripped_size, block.weight) == (
        vector["size"],
        vector["stripped_size"],
        vector["weight"],
    )


@pytest.mark.golden("gbt")
def test_a_block_cut_anywhere_or_followed_by_anything_is_refused(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["block_hex"])
    for size in range(len(raw)):
        with pytest.raises(BlockError):
            Block.parse(raw[:size])
    with pytest.raises(BlockError, match="1 bytes too many"):
        Block.parse(raw + b"\x00")


@pytest.mark.golden("gbt", where=lambda entry: len(entry["template"]["transactions"]) == 2)
def test_any_changed_bit_outside_the_header_fails_the_check(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["block_hex"])
    for where in range(80, len(raw)):
        changed = bytearray(raw)
        changed[where] ^= 0x10
        with pytest.raises(BlockError):
            Block.parse(bytes(changed)).check()


def test_blocks_with_and_without_witnesses_pass_their_check() -> None:
    block_of(coinbase_for(WITNESSED), WITNESSED).check()
    block_of(coinbase_for(SPEND, commit=False), SPEND).check()
    block_of(coinbase_for()).check()


def test_a_wrong_merkle_root_is_refused_with_both_roots() -> None:
    block = block_of(coinbase_for())
    wrong = Block(replace(block.header, merkle_root=b"\xab" * 32), block.transactions)
    with pytest.raises(BlockError, match=f"{'ab' * 32} in the header, {display(block.header.merkle_root)} by count"):
        wrong.check()


def test_a_commitment_to_other_witnesses_is_refused() -> None:
    with pytest.raises(BlockError, match="witness commitment"):
        block_of(coinbase_for(), WITNESSED).check()


def test_witnesses_without_a_commitment_are_refused() -> None:
    with pytest.raises(BlockError, match="no witness commitment"):
        block_of(coinbase_for(WITNESSED, commit=False), WITNESSED).check()


def test_a_commitment_needs_the_coinbases_own_witness() -> None:
    stripped = Transaction.parse(coinbase_for()).stripped
    with pytest.raises(BlockError, match="not one item of 32 bytes"):
        block_of(stripped).check()


def test_a_transaction_that_stands_twice_is_refused() -> None:
    coinbase, others = coinbase_for(SPEND), [SPEND, SPEND]
    header = block_of(coinbase, SPEND).header
    with pytest.raises(BlockError, match="stands twice"):
        Block.parse(serialise_block(header, coinbase, others)).check()


def test_the_first_transaction_and_no_other_is_a_coinbase() -> None:
    with pytest.raises(BlockError, match="not a coinbase"):
        block_of(SPEND).check()
    second = build_coinbase(height=1, outputs=[TxOut(1, b"\x51")], extranonce_size=0).stripped(b"")
    with pytest.raises(BlockError, match="second coinbase"):
        block_of(coinbase_for(second), second).check()


def test_a_block_without_transactions_is_refused() -> None:
    header = block_of(coinbase_for()).header
    with pytest.raises(BlockError, match="without transactions"):
        Block.parse(header.pack() + b"\x00").check()


def test_a_block_too_heavy_for_consensus_is_refused() -> None:
    script = bytes(1_000_000)
    heavy = SPEND[:46] + b"\x01" + bytes(8) + compact_size(len(script)) + script + bytes(4)
    with pytest.raises(BlockError, match="weight"):
        block_of(coinbase_for(heavy), heavy).check()


def test_more_bytes_than_any_block_has_are_not_even_read() -> None:
    with pytest.raises(BlockError, match="more than any block"):
        Block.parse(bytes(4_000_001))


def test_more_than_252_transactions_take_a_longer_count() -> None:
    others = [SPEND[:5] + number.to_bytes(32, "little") + SPEND[37:] for number in range(1, 300)]
    block = block_of(coinbase_for(*others), *others)
    block.check()
    assert len(block.transactions) == 300
    assert block.stripped_size == 83 + sum(len(each.stripped) for each in block.transactions)


@given(st.binary(max_size=120), st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_a_block_error(header: bytes, body: bytes) -> None:
    with suppress(BlockError):
        Block.parse(header + body).check()
