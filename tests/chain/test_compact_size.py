from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import EncodingError, compact_size
from miner.chain.compact_size import Reader


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (0xFC, "fc"),
        (0xFD, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00000100"),
        (0xFFFFFFFF, "feffffffff"),
        (1 << 32, "ff0000000001000000"),
        ((1 << 64) - 1, "ffffffffffffffffff"),
    ],
)
def test_a_number_takes_the_shortest_of_four_forms(number: int, encoded: str) -> None:
    assert compact_size(number).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).compact_size() == number


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_beyond_64_bits_has_no_form(number: int) -> None:
    with pytest.raises(EncodingError):
        compact_size(number)


@pytest.mark.parametrize("encoded", ["fdfc00", "feffff0000", "ffffffffff00000000", "fd0000"])
def test_a_form_longer_than_needed_is_refused(encoded: str) -> None:
    with pytest.raises(EncodingError, match="shortest"):
        Reader(bytes.fromhex(encoded)).compact_size()


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=8))
def test_reading_takes_exactly_what_writing_wrote(number: int, rest: bytes) -> None:
    reader = Reader(compact_size(number) + rest)
    assert reader.compact_size() == number
    assert reader.take(reader.remaining) == rest


@pytest.mark.parametrize("encoded", ["", "fd", "fd01", "fe000001", "ff00000000000000"])
def test_a_form_that_ends_early_is_refused(encoded: str) -> None:
    with pytest.raises(EncodingError):
        Reader(bytes.fromhex(encoded)).compact_size()


def test_a_reader_never_returns_less_than_was_asked_for() -> None:
    reader = Reader(b"abc")
    assert reader.take(2) == b"ab"
    with pytest.raises(EncodingError, match="offset 2, 1 are left"):
        reader.take(2)
    assert reader.take(1) == b"c"


def test_a_count_of_more_items_than_the_bytes_could_hold_is_refused_before_any_is_read() -> None:
    assert Reader(b"\x02" + bytes(82)).count(41) == 2
    with pytest.raises(EncodingError, match="2 items"):
        Reader(b"\x02" + bytes(81)).count(41)
    with pytest.raises(EncodingError):
        Reader(b"\xff" + b"\xff" * 8).count(1)


def test_a_counted_string_may_be_empty_or_fill_the_rest_but_not_more() -> None:
    assert Reader(b"\x00").counted() == b""
    assert Reader(b"\x03abc").counted() == b"abc"
    with pytest.raises(EncodingError):
        Reader(b"\x04abc").counted()
