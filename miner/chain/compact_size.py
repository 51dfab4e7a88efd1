"""Compact sizes, and a reader of consensus bytes that never runs past their end.

A compact size is one byte below 0xfd, else a marker and 2, 4 or 8 bytes, little-endian. Only the shortest form is
canonical. Source: Bitcoin Core, serialize.h (ReadCompactSize).
"""

from __future__ import annotations

from miner.chain.errors import EncodingError

_WIDTHS = {0xFD: 2, 0xFE: 4, 0xFF: 8}  # bytes after the marker


def compact_size(number: int) -> bytes:
    """The canonical form of a number in 0 .. 2**64 - 1; raises EncodingError for any other."""
    if 0 <= number < 0xFD:
        return bytes([number])
    for marker, width in _WIDTHS.items():
        if 0 < number < 1 << 8 * width:
            return bytes([marker]) + number.to_bytes(width, "little")
    raise EncodingError(f"no compact size for {number}")


class Reader:
    """A position in some bytes; every method raises EncodingError rather than return less than was asked for."""

    __slots__ = ("_raw", "position")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.position = 0

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._raw) - self.position

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > self.remaining:
            raise EncodingError(f"{size} bytes expected at offset {self.position}, {self.remaining} are left")
        start = self.position
        self.position += size
        return self._raw[start : self.position]

    def since(self, start: int) -> bytes:
        """What was read from an earlier position up to here."""
        return self._raw[start : self.position]

    def starts_with(self, expected: bytes) -> bool:
        """Whether these bytes come next; they are not taken."""
        return self._raw.startswith(expected, self.position)

    def uint(self, width: int) -> int:
        """A little-endian number of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def compact_size(self) -> int:
        """A compact size; a form longer than needed is refused, as nodes refuse it."""
        first = self.uint(1)
        if first < 0xFD:
            return first
        number = self.uint(_WIDTHS[first])
        if len(compact_size(number)) != 1 + _WIDTHS[first]:
            raise EncodingError(f"compact size {number} is not in its shortest form")
        return number

    def count(self, smallest: int) -> int:
        """A compact size that counts items of at least `smallest` bytes each, all of which must still fit.

        The check comes before anything is read or allocated, so that a forged count costs nothing.
        """
        number = self.compact_size()
        if number * smallest > self.remaining:
            raise EncodingError(f"{number} items announced, {self.remaining} bytes are left")
        return number

    def counted(self) -> bytes:
        """A byte string after its own length."""
        return self.take(self.count(1))
