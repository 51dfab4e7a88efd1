"""A device's configuration as its descriptors tell it, bounded and checked before anything is built on it.

A device may say anything here. Endpoint addresses in particular are read, never assumed: they differ between
firmwares of the same board. Source: USB 2.0, section 9.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from backends.base import DeviceFault

INTERFACES_MAX = 32
ENDPOINTS_MAX = 30
EXTRA_MAX = 256  # bytes of class-specific descriptors that are looked at
_ALTERNATES_MAX = 128
_BULK = 2
_TRANSFER_TYPE = 0x03
_INWARD = 0x80
_PACKETS = range(8, 1025)  # 8 to 64 at full speed, 512 at high, 1024 at super


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A bulk endpoint that may be used."""

    address: int
    packet: int  # wMaxPacketSize, bytes


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface in its first alternate setting, with its bulk endpoints; `extra`: class-specific descriptors."""

    number: int
    class_code: int
    subclass_code: int
    inward: tuple[Endpoint, ...] = ()
    outward: tuple[Endpoint, ...] = ()
    extra: bytes = b""

    def pair(self) -> tuple[Endpoint, Endpoint]:
        """The bulk endpoints in and out. Raises DeviceFault when it has none, or several to choose from."""
        if len(self.inward) != 1 or len(self.outward) != 1:
            raise DeviceFault(
                f"interface {self.number} has {len(self.inward)} bulk endpoints in and {len(self.outward)} out, not 1"
            )
        return self.inward[0], self.outward[0]


def read(configuration: Iterable[Any]) -> tuple[Interface, ...]:
    """The interfaces of a pyusb `Configuration`, by number. Raises DeviceFault for what no device may say."""
    settings = islice(configuration, _ALTERNATES_MAX)
    found = sorted((_interface(s) for s in settings if s.bAlternateSetting == 0), key=lambda i: i.number)
    if len(found) > INTERFACES_MAX or len({interface.number for interface in found}) != len(found):
        raise DeviceFault(f"its descriptors name {len(found)} interfaces, some of them twice or too many")
    addresses = Counter(e.address for interface in found for e in (*interface.inward, *interface.outward))
    if twice := [f"{address:02x}" for address, count in addresses.items() if count > 1]:
        raise DeviceFault(f"its descriptors name endpoint {twice[0]} more than once")
    return tuple(found)


def _interface(setting: Any) -> Interface:
    bulk = [e for e in islice(setting, ENDPOINTS_MAX) if e.bmAttributes & _TRANSFER_TYPE == _BULK]
    endpoints = [_endpoint(e.bEndpointAddress, e.wMaxPacketSize) for e in bulk]
    return Interface(
        number=setting.bInterfaceNumber,
        class_code=setting.bInterfaceClass,
        subclass_code=setting.bInterfaceSubClass,
        inward=tuple(e for e in endpoints if e.address & _INWARD),
        outward=tuple(e for e in endpoints if not e.address & _INWARD),
        extra=bytes(setting.extra_descriptors or ())[:EXTRA_MAX],
    )


def _endpoint(address: int, packet: int) -> Endpoint:
    if not address & 0x0F or address & 0x70 or address > 0xFF or packet not in _PACKETS:
        raise DeviceFault(f"its descriptors name endpoint {address:02x} with packets of {packet} bytes")
    return Endpoint(address, packet)
