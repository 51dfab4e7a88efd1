from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.printable import has_controls, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text: 5 \u00b0C \u6f22", "plain text: 5 \u00b0C \u6f22"),
        ("\x1b[2J\r\n", "\\x1b[2J\\x0d\\x0a"),
        ("\x7f\x9b", "\\x7f\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2028", "\\u2028"),
        ("\udcff", "\\udcff"),
        ("s\u07b5m", "s\\u07b5m"),  # nobody has given this one a meaning yet
        ("5\u00a0TH", "5\\xa0TH"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_could_write_to_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert has_controls(text) == (text != shown)


@given(st.text())
def test_printable_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert shown.isprintable()
    shown.encode()
