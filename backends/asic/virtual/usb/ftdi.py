"""FTDI's FT230X: one serial port, four CBUS pins.

Each IN packet of 64 bytes begins with two status bytes, and an empty one goes out every latency period.
Sources: cgminer's usbutils.h and driver-gekko.c (requests, CBUS values); Linux, ftdi_sio.h (the rest of the requests).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from enum import IntEnum

from backends.asic.virtual.faults import Faults
from backends.asic.virtual.line import Far, Port

from .descriptors import Descriptors, Endpoint, Interface
from .device import Setup, Stall, UsbDevice

IN, OUT = 0x81, 0x02
_STATUS = b"\x01\x60"  # transmitter empty, no modem line active
_PACKET = 64
_BASE_EIGHTHS = 24e6  # 3 MHz in eighths
_EIGHTHS = {0: 0, 3: 1, 2: 2, 4: 3, 1: 4, 5: 5, 6: 6, 7: 7}  # code on the wire: eighths
_LATENCY_MS = 16
_CBUS_BITBANG = 0x20
_EEPROM_WORDS = 512
_CBUS_MUX = 0x0D  # word of the EEPROM: what CBUS 0 and 1 do, then CBUS 2 and 3
_MUX_IO = 0x08


class _Request(IntEnum):
    RESET = 0
    MODEM_CONTROL = 1
    FLOW_CONTROL = 2
    BAUD = 3
    DATA = 4
    MODEM_STATUS = 5
    EVENT_CHARACTER = 6
    ERROR_CHARACTER = 7
    SET_LATENCY = 9
    GET_LATENCY = 10
    BIT_MODE = 11
    READ_PINS = 12
    READ_EEPROM = 0x90


def ft230x(product: str, serial: str, manufacturer: str) -> Descriptors:
    """The descriptors of an FT230X whose EEPROM holds these strings."""
    ends = (Endpoint(IN), Endpoint(OUT))
    return Descriptors(
        vid=0x0403,
        pid=0x6015,
        bcd_device=0x1000,
        manufacturer=manufacturer,
        product=product,
        serial=serial,
        interfaces=(Interface(0, 0xFF, 0xFF, 0xFF, ends, product, driver="ftdi_sio"),),
    )


def baud_of(value: int, index: int) -> float:
    """The rate behind a divisor as the baud request carries it."""
    encoded = value | (index & 1) << 16
    if encoded <= 1:
        return 3e6 if encoded == 0 else 2e6
    eighths = (encoded & 0x3FFF) * 8 + _EIGHTHS[encoded >> 14]
    return _BASE_EIGHTHS / eighths


class Ftdi(UsbDevice):
    """`on_pins(driven, levels)`: CBUS pins that are outputs now, and their levels; driven is 0 outside of bit mode."""

    def __init__(
        self,
        descriptors: Descriptors,
        far: Far,
        faults: Faults,
        changed: threading.Condition,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(descriptors, faults, changed, clock)
        self.port = Port(far, faults, changed.notify_all, baud=9600.0)
        self.on_pins: Callable[[int, int], None] = lambda _driven, _levels: None
        self.line_control = 0  # the last data-format request's value
        self.modem_lines = 0
        self._pins = (0, 0)
        self._latency_s = _LATENCY_MS / 1000
        self._last_in = clock()

    def power_on(self) -> None:
        self.port.power_on()
        self._latency_s = _LATENCY_MS / 1000
        self._set_pins(0, 0)

    def due_s(self, endpoint: int) -> float | None:
        return max(0.0, self._last_in + self._latency_s - self.clock()) if endpoint == IN else None

    def wanted(self, endpoint: int, length: int) -> bytes | None:
        if endpoint != IN:
            raise Stall
        transfer = b""
        while length - len(transfer) >= _PACKET and len(self.port) >= _PACKET - len(_STATUS):
            transfer += _STATUS + (data := self.port.take(_PACKET - len(_STATUS)))
            if len(data) < _PACKET - len(_STATUS):  # a short packet ends the transfer
                break
        if not transfer and not self.due_s(IN):
            transfer = _STATUS + self.port.take(min(_PACKET, length) - len(_STATUS))
        if not transfer:
            return None
        self._last_in = self.clock()
        return transfer

    def sent(self, endpoint: int, data: bytes) -> None:
        if endpoint != OUT:
            raise Stall
        self.port.write(data)

    def request(self, setup: Setup, data: bytes) -> bytes:
        del data  # no request of these has any
        value = setup.value
        if setup.request_type not in {0x40, 0xC0}:
            raise Stall
        match setup.request, setup.to_host:
            case _Request.RESET, False:
                if value != 2:  # everything but "purge what is to be sent", which we never hold
                    self.port.purge()
            case _Request.MODEM_CONTROL, False:
                mask = value >> 8
                self.modem_lines = self.modem_lines & ~mask | value & mask
            case ((_Request.FLOW_CONTROL | _Request.EVENT_CHARACTER | _Request.ERROR_CHARACTER), False):
                pass
            case _Request.BAUD, False:
                self.port.baud = baud_of(value, setup.index)
            case _Request.DATA, False:
                self.line_control = value
            case _Request.SET_LATENCY, False:
                if not 1 <= value <= 255:
                    raise Stall
                self._latency_s = value / 1000
            case _Request.BIT_MODE, False:
                cbus = value >> 8 == _CBUS_BITBANG
                self._set_pins(value >> 4 & 0xF if cbus else 0, value & 0xF if cbus else 0)
            case _Request.MODEM_STATUS, True:
                return _STATUS
            case _Request.GET_LATENCY, True:
                return bytes((round(self._latency_s * 1000),))
            case _Request.READ_PINS, True:
                return bytes((self._pins[0] & self._pins[1] | ~self._pins[0] & 0xF,))
            case _Request.READ_EEPROM, True:
                return self._eeprom(setup.index)
            case _:
                raise Stall
        return b""

    def _eeprom(self, word: int) -> bytes:
        if word >= _EEPROM_WORDS:
            raise Stall
        ids = {1: self.descriptors.vid, 2: self.descriptors.pid, 3: self.descriptors.bcd_device}
        mux = {_CBUS_MUX: _MUX_IO * 0x0101, _CBUS_MUX + 1: _MUX_IO * 0x0101}
        return struct.pack("<H", (ids | mux).get(word, 0))

    def _set_pins(self, driven: int, levels: int) -> None:
        self._pins = (driven, levels)
        self.on_pins(driven, levels)
