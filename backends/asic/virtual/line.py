"""A serial line between a bridge's port and what is soldered to it, with a baud rate at either end.

Ends whose rates are more than 5 % apart read noise (a UART samples the last bit of ten half a bit off by then).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from .faults import Fault, Faults

BUFFER = 4096  # bytes a port keeps for a host that does not read; what is more is lost, as on the real chips
_TOLERANCE = 0.05


def understand(sender_baud: float, receiver_baud: float) -> bool:
    """Whether a receiver at this rate reads what that sender sends."""
    return abs(sender_baud / receiver_baud - 1) <= _TOLERANCE


class Far(Protocol):
    """What hangs on the line."""

    reply: Callable[[bytes, float], None]  # set by the port: data, the baud rate it is sent at

    def receive(self, data: bytes, baud: float) -> None:
        """Bytes from the host, sent at this rate."""
        ...


class Port:
    """The bridge's end: a baud rate and what has arrived."""

    def __init__(self, far: Far, faults: Faults, changed: Callable[[], None], baud: float) -> None:
        self.baud = baud
        self._default = baud
        self._far = far
        self._faults = faults
        self._changed = changed
        self._arrived = bytearray()
        far.reply = self._hear

    def __len__(self) -> int:
        return len(self._arrived)

    def write(self, data: bytes) -> None:
        self._far.receive(data, self.baud)

    def take(self, length: int) -> bytes:
        """Up to `length` bytes of what has arrived; fewer, cut anywhere, under the SPLIT fault."""
        length = min(length, len(self._arrived))
        if length > 1 and self._faults.strikes(Fault.SPLIT):
            length = self._faults.random.randint(1, length - 1)
        data = bytes(self._arrived[:length])
        del self._arrived[:length]
        return data

    def purge(self) -> None:
        self._arrived.clear()

    def power_on(self) -> None:
        self.purge()
        self.baud = self._default

    def _hear(self, data: bytes, baud: float) -> None:
        if not understand(baud, self.baud):
            data = self._faults.garbled(data)
        self._arrived += data[: BUFFER - len(self._arrived)]
        self._changed()
