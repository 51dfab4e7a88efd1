"""Descriptors, as values and as the bytes that a host reads.

Sources: USB 2.0, chapter 9; the ECN on interface association descriptors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

DEVICE, CONFIGURATION, STRING = 1, 2, 3
_INTERFACE, _ENDPOINT, _ASSOCIATION = 4, 5, 11
_ENGLISH = 0x0409
BULK, INTERRUPT = 2, 3  # of an endpoint's attributes


@dataclass(frozen=True, slots=True)
class Endpoint:
    """address: bit 7 set towards the host."""

    address: int
    attributes: int = BULK
    max_packet: int = 64
    interval: int = 0

    def pack(self) -> bytes:
        return struct.pack("<BBBBHB", 7, _ENDPOINT, self.address, self.attributes, self.max_packet, self.interval)


@dataclass(frozen=True, slots=True)
class Interface:
    """class_specific: descriptors between the interface's own and its endpoints', as bytes."""

    number: int
    class_code: int
    subclass_code: int
    protocol: int
    endpoints: tuple[Endpoint, ...]
    name: str | None = None
    class_specific: bytes = b""
    driver: str | None = None  # the Linux driver that binds it


@dataclass(frozen=True, slots=True)
class Association:
    """Interfaces first .. first + count - 1 are one function."""

    first: int
    count: int
    class_code: int
    subclass_code: int
    protocol: int = 0

    def pack(self) -> bytes:
        rest = (self.class_code, self.subclass_code, self.protocol, 0)
        return struct.pack("<BBBBBBBB", 8, _ASSOCIATION, self.first, self.count, *rest)


@dataclass(frozen=True, slots=True)
class Descriptors:
    """All of a device with one configuration."""

    vid: int
    pid: int
    bcd_device: int
    manufacturer: str
    product: str
    serial: str
    interfaces: tuple[Interface, ...]
    associations: tuple[Association, ...] = ()
    device_class: tuple[int, int, int] = (0, 0, 0)
    attributes: int = 0x80  # powered by the bus
    max_power: int = 250  # in 2 mA

    @property
    def strings(self) -> tuple[str, ...]:
        """From index 1 on."""
        names = tuple(interface.name for interface in self.interfaces if interface.name)
        return (self.manufacturer, self.product, self.serial, *dict.fromkeys(names))

    def device(self) -> bytes:
        ids = (self.vid, self.pid, self.bcd_device)
        return struct.pack("<BBHBBBBHHHBBBB", 18, DEVICE, 0x0200, *self.device_class, 64, *ids, 1, 2, 3, 1)

    def configuration(self) -> bytes:
        body = b""
        for interface in self.interfaces:
            body += b"".join(group.pack() for group in self.associations if group.first == interface.number)
            body += self._interface(interface)
        total = 9 + len(body)
        counts = (len(self.interfaces), 1, 0)
        return struct.pack("<BBHBBBBB", 9, CONFIGURATION, total, *counts, self.attributes, self.max_power) + body

    def string(self, index: int) -> bytes | None:
        """None: there is no such string."""
        if index == 0:
            return struct.pack("<BBH", 4, STRING, _ENGLISH)
        if index > len(self.strings):
            return None
        text = self.strings[index - 1].encode("utf-16-le")[:252]
        return bytes((len(text) + 2, STRING)) + text

    def name_index(self, interface: Interface) -> int:
        return 1 + self.strings.index(interface.name) if interface.name else 0

    def _interface(self, one: Interface) -> bytes:
        codes = (one.class_code, one.subclass_code, one.protocol)
        head = (9, _INTERFACE, one.number, 0, len(one.endpoints), *codes, self.name_index(one))
        return struct.pack("<BBBBBBBBB", *head) + one.class_specific + b"".join(e.pack() for e in one.endpoints)
