"""Silicon Labs serial bridges: CP2105 (two ports) of the GekkoScience A1 and A2 gear, CP2102 of older miners.

Facts: Silicon Labs AN571; cgminer usbutils.h and driver-gekko.c; Linux cp210x. Packets carry data alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from backends.asic.usb.bridge import Parity
from backends.asic.usb.bulk import BulkPair
from backends.asic.usb.claim import Claim
from backends.asic.usb.request import VENDOR_INTERFACE, Request
from backends.base import Misuse

_LATCH = 0x37E1
_BUFFERS = 0x000F  # both directions, in the chip and in the port
_EIGHT_BITS = 8
_PARITY = {Parity.NONE: 0, Parity.MARK: 3}
_DTR = 0x0101  # mask in the high byte, level in the low one
_DTR_RTS = 0x0303
_CLOCK_HZ = 48_000_000


class Number(IntEnum):
    """bRequest."""

    ENABLE = 0x00
    LINE = 0x03
    MODEM = 0x07
    PURGE = 0x12
    BAUD = 0x1E
    VENDOR = 0xFF


@dataclass(frozen=True, slots=True)
class Model:
    """What differs between the chips and, on one chip, between its ports."""

    bauds: range  # what the port can do
    exact: bool = False  # the port divides its clock; others take the nearest of a table and say nothing
    modem: int = _DTR_RTS  # the lines that its miners want raised
    pins: int = 0  # the output pins that the latch has


CP2102 = Model(range(300, 1_000_001))
CP2105_ENHANCED = Model(range(300, 2_000_001), exact=True, modem=_DTR, pins=0x1F)
CP2105_STANDARD = Model(range(2400, 921_601), modem=_DTR, pins=0x1F)


@dataclass(frozen=True, slots=True)
class Codec:
    """Control requests for one port, which is one interface."""

    model: Model
    interface: int

    def enable(self) -> Request:
        return self._request(Number.ENABLE, 1)

    def modem(self) -> Request:
        return self._request(Number.MODEM, self.model.modem)

    def line(self, parity: Parity) -> Request:
        """8 data bits, one stop bit."""
        return self._request(Number.LINE, _EIGHT_BITS << 8 | _PARITY[parity] << 4)

    def purge(self) -> Request:
        return self._request(Number.PURGE, _BUFFERS)

    def baud(self, baud: int) -> Request:
        return self._request(Number.BAUD, data=baud.to_bytes(4, "little"))

    def latch(self, mask: int, levels: int) -> Request:
        """Write the pins of the CP2105; other chips take another form."""
        return self._request(Number.VENDOR, _LATCH, bytes((mask, levels)))

    def _request(self, number: Number, value: int = 0, data: bytes = b"") -> Request:
        return Request(VENDOR_INTERFACE, number, value, self.interface, data)


def real_baud(baud: int, model: Model) -> float:
    """The rate that comes of this one. Raises Misuse outside the port's range."""
    if baud not in model.bauds:
        raise Misuse(f"this CP210x port cannot do {baud} baud")
    if not model.exact:
        return float(baud)
    prescale = 4 if baud <= 365 else 1
    divider = (_CLOCK_HZ + prescale * baud) // (2 * prescale * baud)
    return _CLOCK_HZ / (2 * prescale * divider)


class Cp210xBridge:
    """A `Bridge`. Pins are those of the chip's latch, shared by its ports."""

    def __init__(self, claim: Claim, pair: BulkPair, codec: Codec, parity: Parity = Parity.NONE) -> None:
        """Enable the port, raise the modem lines, 8 bits, empty buffers. The rate is left as it is."""
        self._claim, self._pair, self._codec, self._parity = claim, pair, codec, parity
        self.reset()

    def read(self, timeout_s: float) -> bytes:
        return self._pair.read(timeout_s)

    def write(self, data: bytes) -> None:
        self._pair.write(data)

    def set_baud(self, baud: int) -> float:
        rate = real_baud(baud, self._codec.model)
        self._claim.control(self._codec.baud(baud))
        return rate

    def gpio(self, mask: int, levels: int) -> None:
        if not mask or mask & ~self._codec.model.pins:
            raise Misuse(f"this CP210x bridge has no pins {mask:#x}")
        self._claim.control(self._codec.latch(mask, levels & mask))

    def reset(self) -> None:
        codec = self._codec
        for request in (codec.enable(), codec.modem(), codec.line(self._parity), codec.purge()):
            self._claim.control(request)
        self._pair.forget()

    def close(self) -> None:
        self._pair.close()
