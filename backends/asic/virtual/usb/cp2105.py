"""Silicon Labs' CP2105: two serial ports and a latch of output pins.

Sources: cgminer's usbutils.h and driver-gekko.c; AN571 of Silicon Labs and Linux, cp210x.c (what a driver asks when it
binds: part number, pin configuration, states of the line).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from enum import IntEnum

from backends.asic.virtual.faults import Faults
from backends.asic.virtual.line import Far, Port

from .descriptors import Descriptors, Endpoint, Interface
from .device import Setup, Stall, UsbDevice

CHIPS, TELEMETRY = 0, 1  # interfaces of the miners that have one
_PART = 0x05
_LATCH_AFTER_RESET = 0xFF
_FROM_INTERFACE, _TO_INTERFACE, _FROM_DEVICE, _TO_DEVICE = 0xC1, 0x41, 0xC0, 0x40


class _Request(IntEnum):
    ENABLE = 0x00
    SET_LINE_CONTROL = 0x03
    GET_LINE_CONTROL = 0x04
    SET_BREAK = 0x05
    SET_MODEM = 0x07
    GET_MODEM = 0x08
    GET_PROPERTIES = 0x0F
    GET_STATUS = 0x10
    RESET = 0x11
    PURGE = 0x12
    SET_FLOW = 0x13
    GET_FLOW = 0x14
    EMBED_EVENTS = 0x15
    SET_CHARACTERS = 0x19
    GET_BAUD = 0x1D
    SET_BAUD = 0x1E
    VENDOR = 0xFF


class _Vendor(IntEnum):
    READ_LATCH = 0x00C2
    PART_NUMBER = 0x370B
    PORT_CONFIGURATION = 0x370C
    DEVICE_MODE = 0x3711
    WRITE_LATCH = 0x37E1


def cp2105(product: str, serial: str) -> Descriptors:
    """The descriptors: interface 0 enhanced with 64-byte packets, interface 1 standard with 32."""
    enhanced, standard = (Endpoint(0x81), Endpoint(0x01)), (Endpoint(0x82, 2, 32), Endpoint(0x02, 2, 32))
    return Descriptors(
        vid=0x10C4,
        pid=0xEA70,
        bcd_device=0x0100,
        manufacturer="Silicon Labs",
        product=product,
        serial=serial,
        interfaces=(
            Interface(CHIPS, 0xFF, 0, 0, enhanced, "Enhanced Com Port", driver="cp210x"),
            Interface(TELEMETRY, 0xFF, 0, 0, standard, "Standard Com Port", driver="cp210x"),
        ),
    )


class _Uart:
    """One interface's port with its settings."""

    def __init__(self, far: Far, faults: Faults, changed: Callable[[], None]) -> None:
        self.port = Port(far, faults, changed, baud=115_200.0)
        self.power_on()

    def power_on(self) -> None:
        self.port.power_on()
        self.enabled = False
        self.line_control = 0x0800
        self.modem = 0
        self.flow = bytes(16)


class Cp2105(UsbDevice):
    """`on_latch(state)`: the eight output pins, whenever they are written or reset."""

    def __init__(
        self,
        descriptors: Descriptors,
        fars: Sequence[Far],
        faults: Faults,
        changed: threading.Condition,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(descriptors, faults, changed, clock)
        self.uarts = [_Uart(far, faults, changed.notify_all) for far in fars]
        self.on_latch: Callable[[int], None] = lambda _state: None
        self.latch = _LATCH_AFTER_RESET

    def power_on(self) -> None:
        for uart in self.uarts:
            uart.power_on()
        self._set_latch(_LATCH_AFTER_RESET)

    def wanted(self, endpoint: int, length: int) -> bytes | None:
        uart = self._uart((endpoint & 0x0F) - 1)
        return (uart.enabled and uart.port.take(length)) or None

    def sent(self, endpoint: int, data: bytes) -> None:
        uart = self._uart(endpoint - 1)
        if uart.enabled:
            uart.port.write(data)

    def request(self, setup: Setup, data: bytes) -> bytes:
        if setup.request == _Request.VENDOR:
            return self._vendor(setup, data)
        if setup.request_type not in {_FROM_INTERFACE, _TO_INTERFACE}:
            raise Stall
        uart = self._uart(setup.index)
        return self._asked(uart, setup) if setup.to_host else self._told(uart, setup, data)

    def _told(self, uart: _Uart, setup: Setup, data: bytes) -> bytes:
        match setup.request:
            case _Request.ENABLE:
                uart.enabled = bool(setup.value)
                if not uart.enabled:
                    uart.port.purge()
            case _Request.SET_LINE_CONTROL:
                if setup.value >> 8 not in {5, 6, 7, 8} or setup.value >> 4 & 0xF > 4 or setup.value & 0xF > 2:
                    raise Stall
                uart.line_control = setup.value
            case _Request.SET_MODEM:
                mask = setup.value >> 8
                uart.modem = uart.modem & ~mask | setup.value & mask
            case _Request.SET_BAUD:
                if len(data) != 4 or not 300 <= (baud := struct.unpack("<I", data)[0]) <= 2_000_000:
                    raise Stall
                uart.port.baud = float(baud)
            case _Request.PURGE | _Request.RESET:
                uart.port.purge()
            case _Request.SET_FLOW | _Request.GET_FLOW:  # cgminer calls 0x14 SET_FLOW: not known what the chip says
                uart.flow = data.ljust(16, b"\0")[:16]
            case _Request.SET_CHARACTERS | _Request.EMBED_EVENTS | _Request.SET_BREAK:
                pass
            case _:
                raise Stall
        return b""

    def _asked(self, uart: _Uart, setup: Setup) -> bytes:
        match setup.request:
            case _Request.GET_LINE_CONTROL:
                return struct.pack("<H", uart.line_control)
            case _Request.GET_MODEM:
                return bytes((uart.modem & 3,))
            case _Request.GET_STATUS:  # errors, hold reasons, bytes received and to be sent, flags
                return struct.pack("<IIIIBBB", 0, 0, len(uart.port), 0, 0, 0, 0)
            case _Request.GET_FLOW:
                return uart.flow
            case _Request.GET_BAUD:
                return struct.pack("<I", round(uart.port.baud))
            case _Request.GET_PROPERTIES:
                return struct.pack("<H", setup.length).ljust(min(setup.length, 64), b"\0")
            case _:
                raise Stall

    def _vendor(self, setup: Setup, data: bytes) -> bytes:
        match setup.value, setup.to_host:
            case _Vendor.PART_NUMBER, True:
                return bytes((_PART,))
            case _Vendor.READ_LATCH, True:
                return bytes((self.latch,))
            case _Vendor.PORT_CONFIGURATION, True:  # all pins push-pull outputs of the latch
                return struct.pack("<HxxH4xHBBB", 0xFFFF, 0xFFFF, 0xFFFF, 0, 0, 0)
            case _Vendor.DEVICE_MODE, True:  # both ports: pins are pins, not modem lines
                return b"\x01\x01"
            case _Vendor.WRITE_LATCH, False if len(data) == 2:
                mask, state = data
                self._set_latch(self.latch & ~mask | state & mask)
                return b""
        raise Stall

    def _uart(self, number: int) -> _Uart:
        if not 0 <= number < len(self.uarts):
            raise Stall
        return self.uarts[number]

    def _set_latch(self, state: int) -> None:
        self.latch = state & 0xFF
        self.on_latch(self.latch)
