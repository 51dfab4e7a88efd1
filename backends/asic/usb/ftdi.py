"""FTDI serial bridges: FT230X of the GekkoScience sticks; FT232R and FT232H of older miners.

Facts: FTDI AN232B-05 (baud rates), AN_184; cgminer usbutils.h and driver-gekko.c; Linux ftdi_sio.
Every packet from the chip begins with two status bytes, whether data follows or not; an idle chip sends such an empty
packet each time its latency timer runs out.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import IntEnum

from backends.asic.usb.bridge import Parity
from backends.asic.usb.bulk import BulkPair
from backends.asic.usb.claim import Claim
from backends.asic.usb.request import VENDOR_DEVICE, Request
from backends.base import Misuse

STATUS = 2  # bytes at the head of each packet: modem and line status
# For how long the chip waits for more before it sends a packet that is not full: its default, too. A result is late by
# half of that on average, one in 75,000 by a new block; empty packets every 2 ms make new work later, and cost more.
LATENCY_MS = 16

_DATA_BITS = 8
_PARITY = {Parity.NONE: 0, Parity.MARK: 3}
_CBUS_MODE = 0x20
_CBUS_PINS = 0x0F

# Divisors count eighths. The chip wants the eighths coded, and has none between 1, 1.5 and 2.
_EIGHTHS = {0: 0, 1: 3, 2: 2, 3: 4, 4: 1, 5: 5, 6: 6, 7: 7}
_ONE, _ONE_AND_HALF, _TWO = 8, 12, 16
_DIVISOR_MAX = (1 << 14) * 8 - 1
_SLOW_HZ, _FAST_HZ = 24_000_000, 96_000_000  # 48 and 120 MHz clocks, in eighths of the base of 3 and 12 MHz
_FAST_BIT = 1 << 17
_FAST_FROM_BAUD = 1200


class Number(IntEnum):
    """bRequest."""

    RESET = 0x00
    MODEM = 0x01
    FLOW = 0x02
    BAUD = 0x03
    DATA = 0x04
    LATENCY = 0x09
    BIT_MODE = 0x0B


class Empty(IntEnum):
    """wValue of RESET."""

    PORT = 0
    RECEIVED = 1
    TO_SEND = 2


@dataclass(frozen=True, slots=True)
class Model:
    """What differs between the chips."""

    fast: bool = False  # a 12 MHz base beside the one of 3 MHz
    high_byte: bool = False  # the divisor's upper bits stand in the index's high byte, the port in its low one
    cbus: bool = False  # has general pins beside the serial ones


FT232R = Model(cbus=True)
FT232H = Model(fast=True, high_byte=True)
FT230X = Model(cbus=True)
_MODELS = {0x06: FT232R, 0x09: FT232H, 0x10: FT230X}


def model(bcd_device: int) -> Model:
    """By the device's release number, as ftdi_sio tells them apart; an unknown one is the plainest."""
    return _MODELS.get(bcd_device >> 8, Model())


@dataclass(frozen=True, slots=True)
class Divisor:
    """As the chip takes it, and the rate that comes of it."""

    code: int
    baud: float


def divisor(baud: int, model: Model) -> Divisor:
    """The nearest rate. Raises Misuse outside what the chip can do, 184 baud to 3 Mbaud (12 with a fast base)."""
    fast = model.fast and baud >= _FAST_FROM_BAUD
    clock = _FAST_HZ if fast else _SLOW_HZ
    if not 0 < baud <= clock // _ONE or (eighths := (2 * clock + baud) // (2 * baud)) > _DIVISOR_MAX:
        raise Misuse(f"an FTDI bridge cannot do {baud} baud")
    if eighths < _TWO:
        eighths = min((_ONE, _ONE_AND_HALF, _TWO), key=lambda allowed: abs(clock / allowed - baud))
    if eighths == _ONE:
        code = 0
    elif eighths == _ONE_AND_HALF:
        code = 1
    else:
        code = eighths >> 3 | _EIGHTHS[eighths & 7] << 14
    return Divisor(code | (_FAST_BIT if fast else 0), clock / eighths)


@dataclass(frozen=True, slots=True)
class Codec:
    """Control requests for one port. `index`: 0 on a chip with one port."""

    model: Model
    index: int = 0

    def empty(self, what: Empty) -> Request:
        return self._request(Number.RESET, what)

    def latency(self, milliseconds: int) -> Request:
        return self._request(Number.LATENCY, milliseconds)

    def no_flow_control(self) -> Request:
        return self._request(Number.FLOW, 0)

    def line(self, parity: Parity) -> Request:
        """8 data bits, one stop bit."""
        return self._request(Number.DATA, _DATA_BITS | _PARITY[parity] << 8)

    def baud(self, divisor: Divisor) -> Request:
        high = divisor.code >> 16
        index = high << 8 | self.index if self.model.high_byte else high
        return Request(VENDOR_DEVICE, Number.BAUD, divisor.code & 0xFFFF, index)

    def pins(self, driven: int, levels: int) -> Request:
        """CBUS pins: which of the four are outputs, and how high they stand."""
        return self._request(Number.BIT_MODE, _CBUS_MODE << 8 | driven << 4 | levels)

    def _request(self, number: Number, value: int) -> Request:
        return Request(VENDOR_DEVICE, number, value, self.index)


def payload(raw: bytes, packet: int) -> bytes:
    """What several packets, read together, carry beside their status; `packet`: wMaxPacketSize."""
    if len(raw) <= packet:
        return raw[STATUS:]
    return b"".join(raw[start + STATUS : start + packet] for start in range(0, len(raw), packet))


class FtdiBridge:
    """A `Bridge`. Pins are CBUS0 to CBUS3, bits 0 to 3."""

    def __init__(self, claim: Claim, pair: BulkPair, codec: Codec, parity: Parity = Parity.NONE) -> None:
        """Set the port up: 8 bits, no flow control, the latency, empty buffers. The rate is left as it is."""
        self._claim, self._pair, self._codec, self._parity = claim, pair, codec, parity
        self._pins = threading.Lock()
        self._driven = self._levels = 0
        self.reset()

    def read(self, timeout_s: float) -> bytes:
        return self._pair.read(timeout_s)

    def write(self, data: bytes) -> None:
        self._pair.write(data)

    def set_baud(self, baud: int) -> float:
        rate = divisor(baud, self._codec.model)
        self._claim.control(self._codec.baud(rate))
        return rate.baud

    def gpio(self, mask: int, levels: int) -> None:
        """Pins become outputs when they are first set, and stay as they are when the bridge is closed."""
        if not self._codec.model.cbus or mask & ~_CBUS_PINS:
            raise Misuse(f"this FTDI bridge has no pins {mask:#x}")
        with self._pins:
            self._driven |= mask
            self._levels = self._levels & ~mask | levels & mask
            self._claim.control(self._codec.pins(self._driven, self._levels))

    def reset(self) -> None:
        codec = self._codec
        for request in (
            codec.empty(Empty.PORT),
            codec.line(self._parity),
            codec.no_flow_control(),
            codec.latency(LATENCY_MS),
            codec.empty(Empty.TO_SEND),
            codec.empty(Empty.RECEIVED),
        ):
            self._claim.control(request)
        self._pair.forget()

    def close(self) -> None:
        self._pair.close()
