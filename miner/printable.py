"""Text from elsewhere made harmless to print: no control character reaches a terminal, a log file or the journal.

A pool's message, a device's serial number or a file name may carry escape sequences that rewrite a terminal, or line
breaks that forge a log line. They come out as visible escapes.
"""

from __future__ import annotations

import unicodedata

# Controls, formatting (bidirectional overrides, zero width), lone surrogates, private use, line and paragraph breaks.
_CONTROLS = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


def printable(text: str) -> str:
    r"""The text with every unsafe character spelled as \xNN, \uNNNN or \UNNNNNNNN.

    Unsafe is what Python holds for not printable: controls, formatting (bidirectional overrides, zero width), lone
    surrogates, private use, what no Unicode has assigned yet, and separators other than a space.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def has_controls(text: str) -> bool:
    """Whether it holds what nobody means to write; wide spaces and characters of newer alphabets are none of it."""
    return any(unicodedata.category(c) in _CONTROLS for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
