"""Firmware with two CDC-ACM functions, as bitaxe-raw has: first the control channel, then the chips' line.

Sources: USB CDC 1.1 and its PSTN subclass (descriptors, requests); bitaxe-raw (ids, order of the functions).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from enum import IntEnum

from backends.asic.virtual.faults import Faults
from backends.asic.virtual.line import Far, Port

from .descriptors import INTERRUPT, Association, Descriptors, Endpoint, Interface
from .device import Setup, Stall, UsbDevice

CONTROL, DATA = 0, 1  # the functions
_COMMUNICATION, _ABSTRACT_CONTROL, _DATA_CLASS = 0x02, 0x02, 0x0A
_CLASS_SPECIFIC = 0x24
_CODING = "<IBBB"  # baud, stop bits, parity, data bits


class _Request(IntEnum):
    SET_LINE_CODING = 0x20
    GET_LINE_CODING = 0x21
    SET_CONTROL_LINE_STATE = 0x22
    SEND_BREAK = 0x23


def bitaxe_raw(serial: str, manufacturer: str = "OSMU", product: str = "Bitaxe") -> Descriptors:
    """serial: 8 hex digits, made from the MAC address on real boards."""
    interfaces, associations = [], []
    for number in (0, 2):
        union = struct.pack("<BBBBB", 5, _CLASS_SPECIFIC, 6, number, number + 1)
        header, calls = bytes((5, _CLASS_SPECIFIC, 0, 0x10, 0x01)), bytes((5, _CLASS_SPECIFIC, 1, 0, number + 1))
        abstract = bytes((4, _CLASS_SPECIFIC, 2, 0x02))  # line coding and line state
        interrupt = (Endpoint(0x81 + number, INTERRUPT, 8, 255),)
        bulk = (Endpoint(0x82 + number), Endpoint(0x02 + number))
        functional = header + calls + abstract + union
        interfaces += [
            Interface(number, _COMMUNICATION, _ABSTRACT_CONTROL, 0, interrupt, None, functional, "cdc_acm"),
            Interface(number + 1, _DATA_CLASS, 0, 0, bulk, driver="cdc_acm"),
        ]
        associations.append(Association(number, 2, _COMMUNICATION, _ABSTRACT_CONTROL))
    return Descriptors(
        vid=0xC0DE,
        pid=0xCAFE,
        bcd_device=0x0001,
        manufacturer=manufacturer,
        product=product,
        serial=serial,
        interfaces=tuple(interfaces),
        associations=tuple(associations),
        device_class=(0xEF, 2, 1),
        max_power=50,
    )


class CdcAcm(UsbDevice):
    """One port per function; the rate of a port is what SET_LINE_CODING said last."""

    def __init__(
        self,
        descriptors: Descriptors,
        fars: Sequence[Far],
        faults: Faults,
        changed: threading.Condition,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(descriptors, faults, changed, clock)
        self.ports = [Port(far, faults, changed.notify_all, baud=115_200.0) for far in fars]
        self.line_states = [0] * len(self.ports)
        self._frames = [(0, 0, 8)] * len(self.ports)
        data = [interface for interface in descriptors.interfaces if interface.class_code == _DATA_CLASS]
        self._port_of = {e.address: port for one, port in zip(data, self.ports, strict=True) for e in one.endpoints}

    def power_on(self) -> None:
        for port in self.ports:
            port.power_on()
        self.line_states = [0] * len(self.ports)

    def wanted(self, endpoint: int, length: int) -> bytes | None:
        port = self._port_of.get(endpoint)
        return (port and port.take(length)) or None  # no notification ever comes from this firmware

    def sent(self, endpoint: int, data: bytes) -> None:
        if (port := self._port_of.get(endpoint)) is None:
            raise Stall
        port.write(data)

    def request(self, setup: Setup, data: bytes) -> bytes:
        function, remainder = divmod(setup.index, 2)
        if setup.request_type & 0x7F != 0x21 or remainder or function >= len(self.ports):
            raise Stall
        port = self.ports[function]
        match setup.request, setup.to_host:
            case _Request.SET_LINE_CODING, False if len(data) == struct.calcsize(_CODING):
                baud, *frame = struct.unpack(_CODING, data)
                if not baud:
                    raise Stall
                port.baud, self._frames[function] = float(baud), (frame[0], frame[1], frame[2])
            case _Request.GET_LINE_CODING, True:
                return struct.pack(_CODING, round(port.baud), *self._frames[function])
            case _Request.SET_CONTROL_LINE_STATE, False:
                self.line_states[function] = setup.value & 3
            case _Request.SEND_BREAK, False:
                pass
            case _:
                raise Stall
        return b""
