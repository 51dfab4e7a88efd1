from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import HashError, display, from_display, sha256d

GENESIS_TEXT = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
GENESIS_HEADER = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b2"
    "7ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)


def test_the_genesis_header_hashes_to_the_hash_everyone_knows() -> None:
    assert display(sha256d(GENESIS_HEADER)) == GENESIS_TEXT


def test_display_order_is_header_order_reversed() -> None:
    assert from_display(GENESIS_TEXT)[-5:] == bytes(5)
    assert display(bytes(31) + b"\xab") == "ab" + "00" * 31


@given(st.binary(min_size=32, max_size=32))
def test_display_and_back_is_the_same_hash(hash32: bytes) -> None:
    assert from_display(display(hash32)) == hash32
    assert from_display(display(hash32).upper()) == hash32


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_32_bytes_are_displayed(size: int) -> None:
    with pytest.raises(HashError, match=f"not {size}"):
        display(bytes(size))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "0" * 63,
        "0" * 65,
        "zz" * 32,
        "0x" + "00" * 31,
        "00 " * 21 + "0",
        "00 " * 32,
        "00" * 31 + "  ",
        "\uff10" * 64,
    ],
)
def test_only_64_hex_digits_are_a_hash(text: str) -> None:
    with pytest.raises(HashError):
        from_display(text)
