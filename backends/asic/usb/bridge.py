"""A serial line inside a USB device: what every bridge chip gives, whatever control transfers it takes.

Bridges are dumb and blocking; every call ends within `timeout_s` plus the transfer's own second. They are used from
two threads, the device's and the supervisor's: calls of different methods may overlap.
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol, runtime_checkable

START_BAUD = 115_200  # of nearly every miner after power-on
READ_MAX = 4096  # bytes that one read gives at most


class Parity(Enum):
    """Of 8 data bits and one stop bit. MARK is what the chip port of some CP210x boards is run with."""

    NONE = "none"
    MARK = "mark"


@runtime_checkable
class Bridge(Protocol):
    """One serial port of an opened and claimed device.

    Every method raises DeviceGone when the device is unplugged, BridgeStalled when it does not take or give what it
    should; Misuse for what this kind of bridge does not have.
    """

    def read(self, timeout_s: float) -> bytes:
        """Payload that has arrived, 1 to READ_MAX bytes, as soon as there is any; empty after `timeout_s`."""
        ...

    def write(self, data: bytes) -> None:
        """All of it, in one transfer where the device's frames need that."""
        ...

    def set_baud(self, baud: int) -> float:
        """Answer the rate that the bridge really runs at, in baud."""
        ...

    def gpio(self, mask: int, levels: int) -> None:
        """Set the output pins under `mask`, in the bridge's own numbering."""
        ...

    def reset(self) -> None:
        """Empty both directions and return the port to its state after opening; the device stays claimed."""
        ...

    def close(self) -> None:
        """Release the claim; the last one of a device gives it back to the kernel's drivers. Idempotent."""
        ...
