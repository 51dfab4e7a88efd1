"""Framing: bytes to JSON objects, one a line, and back. Lines are bounded in both directions.

    bytes in any pieces --> Lines.feed --> lines --> decode --> objects
                                            |          |
                              FloodOfBytes: no way on  BadLine: this line is lost, the next is not

Quirks met here (docs/quirks.md): CRLF and blank lines (several proxies), several messages in one segment (all), lines
of more than 1,023 bytes close the connection (ckpool, of ours), NaN and 1e400 (Python's reader takes them for numbers),
error texts in another encoding than UTF-8 (Chinese pools: GBK; others: Latin-1; ISO-2022-JP has bare escapes).
"""

from __future__ import annotations

import json
from typing import Any

from miner.sources.stratum.errors import BadLine, FloodOfBytes, LineTooLong

MAX_LINE = 1 << 20  # bytes of theirs; the longest honest notify has less than 100,000
MAX_OWN_LINE = 1023  # bytes of ours, newline included: ckpool's buffer
MAX_INT_DIGITS = 20  # 2**64 has as many
UNREADABLE = "\N{REPLACEMENT CHARACTER}"  # stands for bytes in another encoding than UTF-8


class Lines:
    """Cuts a stream into lines; holds at most one unfinished line of `limit` bytes."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = bytearray()

    @property
    def held(self) -> int:
        """Bytes of the line that has not ended yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that are complete now, stripped, without blank ones; raises FloodOfBytes for an endless one."""
        head, newline, tail = data.rpartition(b"\n")
        if not newline:
            self._rest += data
            whole: list[bytes] = []
        else:
            whole = (bytes(self._rest) + head).split(b"\n")
            self._rest = bytearray(tail)
        if len(self._rest) > self._limit or max(map(len, whole), default=0) > self._limit:
            self._rest.clear()
            raise FloodOfBytes(f"a line of more than {self._limit} bytes")
        return [stripped for line in whole if (stripped := line.strip())]


def decode(line: bytes) -> dict[str, Any]:
    """The JSON object on a line; raises BadLine. Numbers are int or float, and a float may be infinite (1e400).

    Bytes that are not UTF-8 become UNREADABLE, or the characters of GB 18030: a text for people must not cost a share
    its verdict.
    """
    try:
        message = _decode(line)
    except RecursionError:
        raise BadLine("nested deeper than any message") from None
    except ValueError as error:  # JSONDecodeError among them
        raise BadLine(f"not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise BadLine(f"JSON, but no object: {type(message).__name__}")
    return message


def encode(message: dict[str, Any]) -> bytes:
    """One line of ours; raises LineTooLong. ASCII only, so that a text of theirs goes back exactly as it came."""
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"
    if len(line) > MAX_OWN_LINE:
        raise LineTooLong(f"a message of {len(line)} bytes; pools take up to {MAX_OWN_LINE}: shorten user and password")
    return line


def spelt(text: str) -> int:
    """How many bytes a text takes in a line of ours, between its quotation marks."""
    return len(json.dumps(text)) - 2


def _decode(line: bytes) -> Any:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return _decode_foreign(line)
    return _DECODER.decode(text)


def _decode_foreign(line: bytes) -> Any:
    try:
        return _DECODER.decode(line.decode(errors="replace"))
    except ValueError:  # the second byte of a character in GBK may be that of a backslash
        return _DECODER.decode(line.decode("gb18030", errors="replace"))


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def _short_int(digits: str) -> int:
    if len(digits) > MAX_INT_DIGITS:
        raise ValueError("an integer that no field holds")
    return int(digits)


# Not strict: a text may hold bare control characters, such as the escapes of ISO-2022-JP.
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_short_int, strict=False)
