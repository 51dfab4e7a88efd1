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
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_could_write_to_a_terminal_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert has_controls(text) == (text != shown)


@pytest.mark.parametrize(("text", "shown"), [("s\u07b5m", "s\\u07b5m"), ("5\u00a0TH", "5\\xa0TH")])
def test_what_has_no_meaning_yet_and_wide_spaces_are_spelled_out_but_no_mistake(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert not has_controls(text)


@given(st.text())
def test_printable_text_is_one_line_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert printable(shown) == shown
    assert shown.isprintable()
    shown.encode()
