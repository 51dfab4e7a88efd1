from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import (
    ChainError,
    Coinbase,
    CoinbaseError,
    Transaction,
    TransactionError,
    TxOut,
    build_coinbase,
    display,
    fold,
    is_commitment,
    parse_coinbase,
    push,
    push_height,
    read_height,
    witness_commitment,
)

PAYOUT = TxOut(50_0000_0000, bytes.fromhex("0014") + b"\x42" * 20)
COMMITMENT = witness_commitment([])


def script_of(coinbase: Coinbase, extranonce: bytes) -> bytes:
    return Transaction.parse(coinbase.with_witness(extranonce)).inputs[0].script_sig


@pytest.mark.golden("coinbase_build")
def test_a_coinbase_around_given_script_parts_matches_the_reference_byte_for_byte(vector: dict[str, Any]) -> None:
    extranonce = bytes.fromhex(vector["extranonce_hex"])
    head = push_height(vector["height"])
    tail = bytes.fromhex(vector["tag_hex"]) or b"\x00"
    coinbase = Coinbase.around(
        head,
        len(extranonce),
        tail,
        outputs=[TxOut(vector["value"], bytes.fromhex(vector["script_pubkey"]))],
        locktime=vector["locktime"],
        commitment=bytes.fromhex(vector["witness_commitment_script"]),
    )
    assert coinbase.stripped(extranonce).hex() == vector["stripped"]
    assert coinbase.with_witness(extranonce).hex() == vector["full"]
    assert display(coinbase.txid(extranonce)) == vector["txid"]


@pytest.mark.golden("gbt", where=lambda entry: entry["id"] == "regtest-1-constructed")
def test_a_coinbase_built_from_a_template_is_the_one_of_its_block(vector: dict[str, Any]) -> None:
    template = vector["template"]
    recorded = Transaction.parse(bytes.fromhex(vector["coinbase_with_witness"]))
    coinbase = build_coinbase(
        height=template["height"],
        outputs=[TxOut(template["coinbasevalue"], recorded.outputs[0].script)],
        extranonce_size=0,
        commitment=bytes.fromhex(template["default_witness_commitment"]),
    )
    assert coinbase.with_witness(b"") == recorded.raw
    assert coinbase.stripped(b"").hex() == vector["coinbase_stripped"]


@pytest.mark.golden("gbt")
def test_cutting_a_real_coinbase_anywhere_in_its_script_and_joining_it_changes_nothing(vector: dict[str, Any]) -> None:
    stripped = bytes.fromhex(vector["coinbase_stripped"])
    for size in range(3):
        coinbase = Coinbase(stripped[:42], stripped[42 + size :], size, segwit=True)
        extranonce = stripped[42 : 42 + size]
        assert coinbase.with_witness(extranonce).hex() == vector["coinbase_with_witness"]
        branch = [bytes.fromhex(node) for node in vector["merkle_branch"]]
        assert display(fold(branch, coinbase.txid(extranonce))) == vector["merkle_root"]


@pytest.mark.golden("stratum_v1_merkle")
def test_a_pools_halves_make_a_coinbase(vector: dict[str, Any]) -> None:
    prefix = bytes.fromhex(vector["coinb1"] + vector["extranonce1"])
    extranonce2 = bytes.fromhex(vector["extranonce2"])
    coinbase = Coinbase(prefix, bytes.fromhex(vector["coinb2"]), len(extranonce2), segwit=False)
    assert display(coinbase.txid(extranonce2)) == vector["coinbase_txid"]
    assert display(parse_coinbase(coinbase.stripped(extranonce2)).txid) == vector["coinbase_txid"]


@pytest.mark.golden("coinbase_height")
def test_the_script_starts_with_the_height_and_has_at_least_two_bytes(vector: dict[str, Any]) -> None:
    for extranonce_size in (0, 1, 8):
        coinbase = build_coinbase(height=vector["height"], outputs=[PAYOUT], extranonce_size=extranonce_size)
        script = script_of(coinbase, bytes(extranonce_size))
        assert script.startswith(bytes.fromhex(vector["script_prefix"]))
        assert len(script) >= 2
        assert read_height(script) == vector["height"]


@given(
    height=st.integers(0, 500_000_000),
    extranonce=st.binary(max_size=32),
    tag=st.binary(max_size=120),
    aux=st.binary(max_size=30),
    segwit=st.booleans(),
)
def test_every_coinbase_is_one_to_any_reader(
    *, height: int, extranonce: bytes, tag: bytes, aux: bytes, segwit: bool
) -> None:
    coinbase = build_coinbase(
        height=height,
        outputs=[PAYOUT],
        extranonce_size=len(extranonce),
        tag=tag,
        aux=aux,
        commitment=COMMITMENT if segwit else None,
    )
    transaction = parse_coinbase(coinbase.with_witness(extranonce))
    script = transaction.inputs[0].script_sig
    assert transaction.stripped == coinbase.stripped(extranonce)
    assert transaction.txid == coinbase.txid(extranonce)
    assert transaction.weight == coinbase.weight
    assert transaction.has_witness is segwit
    assert transaction.locktime == max(height - 1, 0)
    assert transaction.inputs[0].sequence == 0xFFFFFFFE
    assert read_height(script) == height
    assert aux in script
    assert extranonce in script
    assert len(script) <= 100


def test_height_aux_extranonce_and_tag_are_a_push_each_in_this_order() -> None:
    coinbase = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=4, tag=b"/angara/", aux=b"flags")
    assert script_of(coinbase, b"\xac\xac\xac\xac").hex() == (
        "0340d10c" + "05" + b"flags".hex() + "04acacacac" + "08" + b"/angara/".hex()
    )


def test_the_extranonce_stands_between_prefix_and_suffix() -> None:
    coinbase = build_coinbase(height=1, outputs=[PAYOUT], extranonce_size=3, commitment=COMMITMENT)
    assert coinbase.stripped(b"abc") == coinbase.prefix + b"abc" + coinbase.suffix


@pytest.mark.parametrize(("extranonce_size", "kept"), [(8, 85), (17, 76), (18, 75), (19, 75), (20, 74)])
def test_a_tag_that_does_not_fit_loses_its_end_and_fills_the_script(extranonce_size: int, kept: int) -> None:
    tag = bytes(range(33, 133))
    coinbase = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=extranonce_size, tag=tag)
    script = script_of(coinbase, bytes(extranonce_size))
    assert script.startswith(push_height(840_000))
    assert script.endswith(push(tag[:kept]))
    assert len(script) in (99, 100)


def test_a_tag_without_any_room_is_left_out() -> None:
    coinbase = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=75, tag=b"/angara/", aux=b"x" * 18)
    assert len(script_of(coinbase, bytes(75))) == 99


def test_height_aux_and_extranonce_may_fill_the_script_to_its_last_byte() -> None:
    coinbase = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=75, tag=b"/angara/", aux=b"x" * 19)
    assert len(parse_coinbase(coinbase.stripped(bytes(75))).inputs[0].script_sig) == 100


@pytest.mark.parametrize(("height", "script"), [(1, "5100"), (16, "6000"), (17, "0111"), (128, "028000")])
def test_only_a_script_of_one_byte_is_padded(height: int, script: str) -> None:
    assert script_of(build_coinbase(height=height, outputs=[PAYOUT], extranonce_size=0), b"").hex() == script


def test_what_may_not_be_cut_is_refused_when_it_does_not_fit() -> None:
    with pytest.raises(CoinbaseError, match="room for 100"):
        build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=75, aux=b"x" * 20)


def test_payouts_keep_their_order_and_the_commitment_comes_last() -> None:
    second = TxOut(7, b"\x51")
    coinbase = build_coinbase(height=1, outputs=[PAYOUT, second], extranonce_size=8, commitment=COMMITMENT)
    outputs = parse_coinbase(coinbase.with_witness(bytes(8))).outputs
    assert outputs == (PAYOUT, second, TxOut(0, COMMITMENT))


def test_without_a_commitment_there_is_no_witness_either() -> None:
    coinbase = build_coinbase(height=1, outputs=[PAYOUT], extranonce_size=8)
    assert coinbase.with_witness(bytes(8)) == coinbase.stripped(bytes(8))
    assert not any(is_commitment(output.script) for output in parse_coinbase(coinbase.stripped(bytes(8))).outputs)


def test_a_payout_that_could_be_taken_for_the_commitment_is_refused() -> None:
    with pytest.raises(CoinbaseError, match="witness commitment"):
        build_coinbase(height=1, outputs=[TxOut(1, COMMITMENT)], extranonce_size=8, commitment=COMMITMENT)


@pytest.mark.parametrize("commitment", [b"", b"\x6a", COMMITMENT[:-1]])
def test_a_commitment_that_no_node_would_see_is_refused(commitment: bytes) -> None:
    with pytest.raises(CoinbaseError, match="not a witness commitment"):
        build_coinbase(height=1, outputs=[PAYOUT], extranonce_size=8, commitment=commitment)


def test_a_coinbase_pays_somebody_and_no_more_than_there_is() -> None:
    with pytest.raises(CoinbaseError, match="nobody"):
        build_coinbase(height=1, outputs=[], extranonce_size=8)
    with pytest.raises(CoinbaseError, match="more than there will ever be"):
        build_coinbase(height=1, outputs=[TxOut(15 * 10**14, b"\x51")] * 2, extranonce_size=8)


@pytest.mark.parametrize("height", [-1, 500_000_001])
def test_a_height_that_cannot_be_a_locktime_is_refused(height: int) -> None:
    with pytest.raises(CoinbaseError):
        build_coinbase(height=height, outputs=[PAYOUT], extranonce_size=8)


@pytest.mark.parametrize("size", [-1, 101, 10**9])
def test_an_impossible_extranonce_is_refused(size: int) -> None:
    with pytest.raises(CoinbaseError):
        build_coinbase(height=1, outputs=[PAYOUT], extranonce_size=size)


@pytest.mark.parametrize("extranonce", [b"", bytes(7), bytes(9)], ids=len)
def test_an_extranonce_of_another_length_is_refused(extranonce: bytes) -> None:
    coinbase = build_coinbase(height=1, outputs=[PAYOUT], extranonce_size=8, commitment=COMMITMENT)
    for method in (coinbase.stripped, coinbase.with_witness, coinbase.txid):
        with pytest.raises(CoinbaseError, match=f"8 bytes, not {len(extranonce)}"):
            method(extranonce)


@pytest.mark.parametrize(("head", "tail"), [(b"", b""), (b"\x51", b""), (b"\x51" * 50, b"\x51" * 51)])
def test_a_script_outside_2_to_100_bytes_is_refused(head: bytes, tail: bytes) -> None:
    with pytest.raises(CoinbaseError, match="2 to 100"):
        Coinbase.around(head, 0, tail, outputs=[PAYOUT])


def test_only_a_transaction_that_spends_nothing_is_read_as_a_coinbase() -> None:
    raw = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=0).stripped(b"")
    assert parse_coinbase(raw).is_coinbase
    with pytest.raises(CoinbaseError, match="spends an output"):
        parse_coinbase(raw.replace(bytes(32), b"\x01" * 32))


@pytest.mark.parametrize("size", [2, 100])
def test_a_coinbase_with_the_shortest_or_longest_script_is_read(size: int) -> None:
    raw = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=0).stripped(b"")
    assert len(parse_coinbase(raw[:41] + bytes([size]) + bytes(size) + raw[46:]).inputs[0].script_sig) == size


@pytest.mark.parametrize("size", [0, 1, 101])
def test_a_coinbase_with_a_script_of_forbidden_length_is_not_read(size: int) -> None:
    raw = build_coinbase(height=840_000, outputs=[PAYOUT], extranonce_size=0).stripped(b"")
    with pytest.raises(CoinbaseError, match=f"not {size}"):
        parse_coinbase(raw[:41] + bytes([size]) + bytes(size) + raw[46:])


@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_a_coinbase_error(raw: bytes) -> None:
    with suppress(CoinbaseError):
        assert parse_coinbase(raw).is_coinbase


def test_an_output_of_impossible_value_never_reaches_a_coinbase() -> None:
    with pytest.raises(TransactionError):
        TxOut(-1, b"\x51")
    assert issubclass(CoinbaseError, ChainError)
