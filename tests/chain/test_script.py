from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miner.chain import ScriptError, push, push_height, read_height
from miner.chain.script import push_prefix, script_number


@pytest.mark.golden("coinbase_height")
def test_heights_are_pushed_as_core_pushes_them(vector: dict[str, Any]) -> None:
    assert push_height(vector["height"]).hex() == vector["script_prefix"]


@pytest.mark.golden("coinbase_height")
def test_a_coinbase_script_tells_its_height(vector: dict[str, Any]) -> None:
    script = bytes.fromhex(vector.get("script_sig", vector["script_prefix"] + "00"))
    assert read_height(script) == vector["height"]


@given(st.integers(0, 0x7FFFFFFF), st.binary(max_size=20))
@example(0, b"")
@example(1, b"")
@example(16, b"")
@example(0x7FFFFFFF, b"")
def test_every_height_is_read_back_whatever_follows(height: int, rest: bytes) -> None:
    assert read_height(push_height(height) + rest) == height


@pytest.mark.parametrize(
    "script",
    ["", "4f", "50", "61", "0110", "0101", "0180", "02ff", "020500", "0300", "03ffffff", "0500000080ff", "0600000000"],
)
def test_a_script_without_a_minimal_height_is_refused(script: str) -> None:
    with pytest.raises(ScriptError):
        read_height(bytes.fromhex(script))


@given(st.binary(max_size=100))
def test_any_script_has_a_height_or_raises_script_error(script: bytes) -> None:
    try:
        height = read_height(script)
    except ScriptError:
        return
    assert script.startswith(push_height(height))


@pytest.mark.parametrize("height", [-1, 0x80000000])
def test_impossible_heights_are_refused(height: int) -> None:
    with pytest.raises(ScriptError):
        push_height(height)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, ""), (1, "01"), (-1, "81"), (127, "7f"), (-127, "ff"), (128, "8000"), (-128, "8080"), (-32768, "008080")],
)
def test_script_numbers_carry_their_sign_in_the_top_bit(number: int, encoded: str) -> None:
    assert script_number(number).hex() == encoded


@pytest.mark.parametrize(
    ("data", "opcodes"),
    [
        (b"", "00"),
        (b"\x01", "51"),
        (b"\x10", "60"),
        (b"\x11", "0111"),
        (b"\x00", "0100"),
        (b"\x81", "4f"),
        (b"\x80", "0180"),
        (b"\x05\x05", "020505"),
    ],
)
def test_short_data_takes_the_shortest_push(data: bytes, opcodes: str) -> None:
    assert push(data).hex() == opcodes


@pytest.mark.parametrize(
    ("size", "prefix"), [(75, "4b"), (76, "4c4c"), (255, "4cff"), (256, "4d0001"), (520, "4d0802")]
)
def test_long_data_is_preceded_by_its_length(size: int, prefix: str) -> None:
    assert push_prefix(size).hex() == prefix
    assert push(bytes(size)) == bytes.fromhex(prefix) + bytes(size)


@pytest.mark.parametrize("size", [-1, 521])
def test_no_push_holds_more_than_520_bytes(size: int) -> None:
    with pytest.raises(ScriptError):
        push_prefix(size)
