"""The host's end of a virtual board, without the driver."""

from __future__ import annotations

import threading

from backends.asic.virtual.chips.chain import Chain
from backends.asic.virtual.chips.frames import crc5


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Line:
    """The host's end of a chain's serial line, at whatever rate the test says."""

    def __init__(self, chain: Chain, changed: threading.Condition) -> None:
        self.chain = chain
        self.changed = changed
        self.baud = 115_740.0
        self.heard = bytearray()
        self.heard_baud = 0.0
        chain.reply = self._hear

    def send(self, data: bytes) -> bytes:
        """What the chips say to this at once."""
        with self.changed:
            self.heard.clear()
            self.chain.receive(data, self.baud)
            return bytes(self.heard)

    def command(self, body: str) -> bytes:
        """The same for a command of which the test names all but preamble and checksum."""
        return self.send(framed(body))

    def _hear(self, data: bytes, baud: float) -> None:
        self.heard += data
        self.heard_baud = baud
        self.changed.notify_all()


def framed(body: str) -> bytes:
    data = bytes.fromhex(body)
    return b"\x55\xaa" + data + bytes((crc5(data),))
