"""A control transfer as a value: what a codec asks for and a claim carries out. Source: USB 2.0, section 9.3."""

from __future__ import annotations

from dataclasses import dataclass

IN = 0x80  # of the request type: from the device to the host
CLASS_INTERFACE = 0x21  # class request to an interface
VENDOR_DEVICE = 0x40
VENDOR_INTERFACE = 0x41


@dataclass(frozen=True, slots=True)
class Request:
    """`data` goes out with it; `length` bytes at most come back where the type says IN."""

    kind: int  # bmRequestType
    number: int  # bRequest
    value: int = 0
    index: int = 0
    data: bytes = b""
    length: int = 0

    def __str__(self) -> str:
        return f"control {self.kind:02x} {self.number:02x} {self.value:04x} {self.index:04x}"
