"""The stream that logs go to: passed on, or kept back while the live screen owns the terminal.

log line -> Tail -> stream                 no screen, or the stream is a file, a pipe or a journal
                `-> the last few lines     always; the screen shows them below its table
"""

from __future__ import annotations

import io
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from miner.printable import printable

LINES_MAX = 50
LINE_MAX = 1000  # characters; what is longer is cut, a line that never ends is not waited for

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Tail(io.TextIOBase):
    """A text stream in front of another one. Thread-safe."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._partial = ""
        self._held = False
        self._lock = threading.Lock()

    def lines(self) -> list[str]:
        """The last lines, oldest first: printable, without colours."""
        with self._lock:
            return list(self._lines)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing reaches the terminal inside this block."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def write(self, text: str) -> int:
        with self._lock:
            *whole, rest = (self._partial + text).split("\n")
            self._lines.extend(printable(_COLOURS.sub("", line[:LINE_MAX])) for line in whole if line)
            self._partial = rest[:LINE_MAX]
            if not (self._held and self._stream.isatty()):
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True
