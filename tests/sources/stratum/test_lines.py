from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.sources.stratum.errors import BadLine, FloodOfBytes, LineTooLong
from miner.sources.stratum.lines import MAX_OWN_LINE, Lines, decode, encode


@given(st.lists(st.text("ab {}", min_size=1).filter(str.strip)), st.lists(st.integers(1, 9)))
def test_lines_are_the_same_however_they_are_cut(texts: list[str], cuts: list[int]) -> None:
    data = "".join(f"{text}\r\n\n" for text in texts).encode()
    lines, got = Lines(), []
    for size in [*cuts, len(data) + 1]:
        got += lines.feed(data[:size])
        data = data[size:]
    assert got == [text.strip().encode() for text in texts]
    assert lines.held == 0


def test_an_unfinished_line_waits_for_its_end() -> None:
    lines = Lines()
    assert lines.feed(b'{"id"') == []
    assert lines.feed(b":1}\n{") == [b'{"id":1}']
    assert lines.held == 1


@pytest.mark.parametrize("data", [b"x" * 11, b"x" * 11 + b"\n"], ids=["endless", "ended"])
def test_a_line_above_the_limit_is_a_flood_and_is_not_kept(data: bytes) -> None:
    lines = Lines(limit=10)
    with pytest.raises(FloodOfBytes):
        lines.feed(data)
    assert lines.held == 0


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"42",
        b'"x"',
        b"null",
        b"invalid json",
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":' + b"9" * 21 + b"}",
        b'{"a":' + b"[" * 100_000,
        b'{"a":\xff}',
        b'{"a":1}{"b":2}',
    ],
    ids=lambda line: repr(line[:16]),
)
def test_what_is_no_object_in_strict_json_is_refused(line: bytes) -> None:
    with pytest.raises(BadLine):
        decode(line)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\u00fcbel".encode("latin-1"), "\ufffdbel"),
        ("\u91cd\u590d".encode("gbk"), "\ufffd\u0638\ufffd"),  # two of its bytes are a letter in UTF-8 too
        ("\u8aa0".encode("gbk"), "\u8aa0"),  # its second byte is a backslash, which would escape the quotation mark
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd"),  # a lone surrogate
        (b"\xc3", "\ufffd"),
        ("\u91cd".encode("iso-2022-jp"), "\x1b$B=E\x1b(B"),
    ],
    ids=["latin-1", "gbk", "gbk-backslash", "surrogate", "cut", "iso-2022-jp"],
)
def test_text_in_a_foreign_encoding_does_not_cost_the_line(text: bytes, read: str) -> None:
    assert decode(b'{"id":4,"error":[23,"' + text + b'",null]}') == {"id": 4, "error": [23, read, None]}


def test_a_text_of_theirs_goes_back_as_it_came() -> None:
    job_id = decode(b'{"j":"\\ud800\\u00e9"}')["j"]
    assert encode({"j": job_id}) == b'{"j":"\\ud800\\u00e9"}\n'


def test_no_line_of_ours_is_longer_than_ckpool_takes() -> None:
    longest = MAX_OWN_LINE - len(encode({"a": ""}))
    assert len(encode({"a": "x" * longest})) == MAX_OWN_LINE
    with pytest.raises(LineTooLong):
        encode({"a": "x" * (longest + 1)})
