from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import ChainError, Transaction, TransactionError, TxOut, compact_size, display

PREVOUT = b"\x11" * 32 + bytes(4)
INPUT = PREVOUT + b"\x00" + b"\xff" * 4
OUTPUT = (1000).to_bytes(8, "little") + b"\x01\x51"
LEGACY = bytes.fromhex("02000000") + b"\x01" + INPUT + b"\x01" + OUTPUT + bytes(4)
WITNESS = b"\x02" + b"\x01\xaa" + b"\x00"
SEGWIT = LEGACY[:4] + b"\x00\x01" + LEGACY[4:-4] + WITNESS + LEGACY[-4:]

SCRIPTS = st.binary(max_size=300)
INPUTS = st.lists(
    st.tuples(st.binary(min_size=36, max_size=36), SCRIPTS, st.lists(SCRIPTS, max_size=3)), min_size=1, max_size=4
)
OUTPUTS = st.lists(st.tuples(st.integers(0, 5_000_000 * 10**8), SCRIPTS), min_size=1, max_size=4)


def counted(data: bytes) -> bytes:
    return compact_size(len(data)) + data


@pytest.mark.golden("gbt")
def test_a_templates_transactions_have_the_ids_and_weights_the_node_gave(vector: dict[str, Any]) -> None:
    for entry in vector["template"]["transactions"]:
        transaction = Transaction.parse(bytes.fromhex(entry["data"]))
        assert display(transaction.txid) == entry["txid"]
        assert display(transaction.wtxid) == entry["hash"]
        assert transaction.weight == entry["weight"]
        assert transaction.has_witness
        assert not transaction.is_coinbase


@pytest.mark.golden("coinbase_build")
def test_a_coinbase_is_read_with_and_without_its_witness(vector: dict[str, Any]) -> None:
    stripped, full = bytes.fromhex(vector["stripped"]), bytes.fromhex(vector["full"])
    transaction = Transaction.parse(full)
    assert transaction.is_coinbase
    assert transaction.stripped == stripped
    assert display(transaction.txid) == vector["txid"]
    assert transaction.version == vector["tx_version"]
    assert transaction.locktime == vector["locktime"]
    assert transaction.inputs[0].sequence == vector["sequence"]
    assert transaction.inputs[0].script_sig.hex() == vector["script_sig"]
    assert transaction.inputs[0].witness == (bytes(32),)
    assert transaction.outputs == (
        TxOut(vector["value"], bytes.fromhex(vector["script_pubkey"])),
        TxOut(0, bytes.fromhex(vector["witness_commitment_script"])),
    )
    assert Transaction.parse(stripped).txid == transaction.txid


def test_a_transaction_without_witness_has_one_id_and_four_weight_units_a_byte() -> None:
    transaction = Transaction.parse(LEGACY)
    assert transaction.txid == transaction.wtxid
    assert transaction.weight == 4 * len(LEGACY)
    assert not transaction.has_witness


def test_a_witness_changes_the_wtxid_and_weighs_one_unit_a_byte() -> None:
    transaction = Transaction.parse(SEGWIT)
    assert transaction.txid == Transaction.parse(LEGACY).txid != transaction.wtxid
    assert transaction.weight == 4 * len(LEGACY) + 2 + len(WITNESS)
    assert transaction.inputs[0].witness == (b"\xaa", b"")


@given(st.integers(0, 0xFFFFFFFF), INPUTS, OUTPUTS, st.integers(0, 0xFFFFFFFF))
def test_every_field_is_read_from_where_it_stands(
    version: int,
    inputs: list[tuple[bytes, bytes, list[bytes]]],
    outputs: list[tuple[int, bytes]],
    locktime: int,
) -> None:
    segwit = any(witness for _, _, witness in inputs)
    body = compact_size(len(inputs)) + b"".join(prevout + counted(script) + bytes(4) for prevout, script, _ in inputs)
    body += compact_size(len(outputs))
    body += b"".join(value.to_bytes(8, "little") + counted(script) for value, script in outputs)
    witnesses = b"".join(compact_size(len(items)) + b"".join(map(counted, items)) for _, _, items in inputs)
    head, tail = version.to_bytes(4, "little"), locktime.to_bytes(4, "little")
    raw = head + b"\x00\x01" + body + witnesses + tail if segwit else head + body + tail

    transaction = Transaction.parse(raw)

    assert transaction.raw == raw
    assert transaction.stripped == head + body + tail
    assert (transaction.version, transaction.locktime) == (version, locktime)
    assert [(each.value, each.script) for each in transaction.outputs] == outputs
    found = [
        (each.prev_hash + each.prev_index.to_bytes(4, "little"), each.script_sig, list(each.witness))
        for each in transaction.inputs
    ]
    assert found == inputs


@pytest.mark.parametrize("raw", [LEGACY, SEGWIT], ids=["legacy", "segwit"])
def test_a_transaction_cut_anywhere_or_followed_by_anything_is_refused(raw: bytes) -> None:
    for size in range(len(raw)):
        with pytest.raises(TransactionError):
            Transaction.parse(raw[:size])
    with pytest.raises(TransactionError, match="1 bytes too many"):
        Transaction.parse(raw + b"\x00")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (LEGACY[:4] + b"\x00\x01" + LEGACY[4:-4] + b"\x00" + LEGACY[-4:], "without any witness"),
        (SEGWIT[:5] + b"\x02" + SEGWIT[6:], "without inputs"),
        (LEGACY[:4] + b"\x00\x00" + LEGACY[-4:], "without inputs"),
        (LEGACY[:4] + b"\x01" + INPUT + b"\x00" + bytes(4), "without outputs"),
        (LEGACY[:4] + b"\xfd\x01\x00" + LEGACY[5:], "shortest"),
        (LEGACY[:4] + b"\xfe\xff\xff\xff\x7f" + LEGACY[5:], "items announced"),
        (LEGACY.replace(OUTPUT, b"\xff" * 8 + b"\x01\x51"), "satoshi"),
        (
            LEGACY.replace(b"\x01" + OUTPUT, b"\x02" + 2 * ((15 * 10**14).to_bytes(8, "little") + b"\x01\x51")),
            "together",
        ),
        (bytes(4_000_001), "any block"),
    ],
    ids=[
        "superfluous-marker",
        "unknown-flag",
        "no-inputs",
        "no-outputs",
        "long-count",
        "forged-count",
        "negative-value",
        "total",
        "giant",
    ],
)
def test_what_a_node_would_refuse_to_decode_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(TransactionError, match=reason):
        Transaction.parse(raw)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_raise_nothing_but_a_transaction_error(raw: bytes) -> None:
    with suppress(TransactionError):
        assert Transaction.parse(raw).raw == raw


@given(st.sampled_from([LEGACY, SEGWIT]), st.integers(0, 200), st.integers(0, 255))
def test_a_changed_byte_gives_another_transaction_or_a_transaction_error(raw: bytes, where: int, byte: int) -> None:
    changed = bytearray(raw)
    changed[where % len(raw)] = byte
    with suppress(TransactionError):
        assert Transaction.parse(bytes(changed)).raw == changed


@pytest.mark.parametrize("value", [-1, 21_000_000 * 10**8 + 1])
def test_an_output_holds_between_nothing_and_all_the_money(value: int) -> None:
    with pytest.raises(TransactionError):
        TxOut(value, b"\x51")


def test_transaction_errors_are_chain_errors() -> None:
    with pytest.raises(ChainError):
        Transaction.parse(b"")


def test_only_a_zero_hash_with_the_null_index_spends_nothing() -> None:
    null = LEGACY.replace(PREVOUT, bytes(32) + b"\xff" * 4)
    assert Transaction.parse(null).is_coinbase
    assert not Transaction.parse(LEGACY.replace(PREVOUT, bytes(36))).is_coinbase
    assert not Transaction.parse(null[:4] + b"\x02" + null[5:46] + INPUT + null[46:]).is_coinbase
