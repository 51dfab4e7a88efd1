"""The bytes of one serial port: a bulk endpoint each way, cut into waits short enough to notice what happens meanwhile.

A device that only sends nothing-packets (an idle FTDI chip), or stalls without end, costs the caller its own time-out
and no more.
"""

from __future__ import annotations

from collections.abc import Callable

from backends.asic.usb.bridge import READ_MAX
from backends.asic.usb.claim import Claim
from backends.asic.usb.descriptors import Endpoint
from backends.base import Misuse

SLICE_S = 0.1  # the longest single wait: an act alone (port reset, closing) comes between two
TIMEOUT_MAX_S = 3600.0
_FORGET_READS = 64  # more than any bridge buffers

Payload = Callable[[bytes, int], bytes]


def _whole(raw: bytes, _packet: int) -> bytes:
    return raw


class BulkPair:
    """One reader and any number of writers at a time. `payload` takes a bridge's own bytes out of what was read."""

    def __init__(
        self,
        claim: Claim,
        inward: Endpoint,
        outward: Endpoint,
        payload: Payload = _whole,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        """`closed`: called once, when the port is closed."""
        self._claim, self._inward, self._outward = claim, inward, outward
        self._payload, self._closed = payload, closed
        self._size = max(READ_MAX // inward.packet, 1) * inward.packet  # whole packets: a cut one is an overflow
        self._is_closed = False

    def read(self, timeout_s: float) -> bytes:
        """What the bridge's `read` gives."""
        self._raise_if_closed()
        now = self._claim.now
        deadline = now() + min(max(0.0, timeout_s), TIMEOUT_MAX_S)  # NaN: 0
        while True:
            left = deadline - now()
            raw = self._claim.read(self._inward.address, self._size, min(left, SLICE_S))
            if data := self._payload(raw, self._inward.packet):
                return data
            if left <= 0 or now() >= deadline:
                return b""

    def write(self, data: bytes) -> None:
        """What the bridge's `write` does."""
        self._raise_if_closed()
        self._claim.write(self._outward.address, bytes(data))

    def forget(self) -> None:
        """Drop what has arrived: bytes of an earlier life of the device. Bounded, whatever it keeps sending."""
        for _ in range(_FORGET_READS):
            if not self.read(0.0):
                return

    def close(self) -> None:
        """Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._closed()

    def _raise_if_closed(self) -> None:
        if self._is_closed:
            raise Misuse("this serial port is closed")
