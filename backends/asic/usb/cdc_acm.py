"""Serial ports of the USB communications class, as bitaxe-raw and its kin have them: no bridge chip, a firmware.

Each port ("function") is a communications interface, which takes the requests, and a data interface. bitaxe-raw has
two: the first speaks to the board, the second to its chips. Facts: USB CDC 1.2 and PSTN 1.2; bitaxe-raw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from backends.asic.usb.bridge import START_BAUD, Parity
from backends.asic.usb.bulk import BulkPair
from backends.asic.usb.claim import Claim
from backends.asic.usb.descriptors import Interface
from backends.asic.usb.request import CLASS_INTERFACE, Request
from backends.base import DeviceFault, Misuse

COMMUNICATIONS = (0x02, 0x02)  # class, subclass "abstract control model"
DATA = 0x0A

_CLASS_DESCRIPTOR, _UNION = 0x24, 0x06
_ONE_STOP_BIT = 0
_PARITY = {Parity.NONE: 0, Parity.MARK: 3}
_EIGHT_BITS = 8
_DTR_RTS = 0x0003
_BAUD_MAX = 12_000_000


class Number(IntEnum):
    """bRequest."""

    LINE_CODING = 0x20
    CONTROL_LINES = 0x22


@dataclass(frozen=True, slots=True)
class Function:
    """One serial port of the device."""

    control: Interface
    data: Interface


def functions(layout: Sequence[Interface]) -> tuple[Function, ...]:
    """The device's serial ports, in the order of their communications interfaces.

    Raises DeviceFault where the descriptors give a port no data interface, or give one to two ports.
    """
    data = {interface.number: interface for interface in layout if interface.class_code == DATA}
    ports: list[Function] = []
    for control in layout:
        if (control.class_code, control.subclass_code) != COMMUNICATIONS:
            continue
        number = next(_unions(control.extra), control.number + 1)
        if number not in data:
            raise DeviceFault(f"its descriptors give serial port {len(ports)} no data interface of its own")
        ports.append(Function(control, data.pop(number)))
    return tuple(ports)


def _unions(extra: bytes) -> Iterator[int]:
    """The data interfaces that union descriptors name, whatever else the bytes hold."""
    at = 0
    while at + 2 <= len(extra) and extra[at] >= 2:
        descriptor = extra[at : at + extra[at]]
        if len(descriptor) >= 5 and descriptor[1:3] == bytes((_CLASS_DESCRIPTOR, _UNION)):
            yield descriptor[4]
        at += extra[at]


@dataclass(frozen=True, slots=True)
class Codec:
    """Control requests for one port. `baud` and `parity` go together in one request."""

    interface: int
    parity: Parity = Parity.NONE
    baud: int = START_BAUD

    def line_coding(self) -> Request:
        """8 data bits, one stop bit."""
        coding = self.baud.to_bytes(4, "little") + bytes((_ONE_STOP_BIT, _PARITY[self.parity], _EIGHT_BITS))
        return Request(CLASS_INTERFACE, Number.LINE_CODING, 0, self.interface, coding)

    def control_lines(self) -> Request:
        """DTR and RTS raised: firmwares send nothing before a terminal is there."""
        return Request(CLASS_INTERFACE, Number.CONTROL_LINES, _DTR_RTS, self.interface)


class CdcAcmBridge:
    """A `Bridge` without pins: firmwares with pins offer them in a protocol of their own."""

    def __init__(self, claim: Claim, pair: BulkPair, codec: Codec) -> None:
        """Set the line coding, raise the control lines, drop what was waiting."""
        self._claim, self._pair, self._codec = claim, pair, codec
        self.reset()

    def read(self, timeout_s: float) -> bytes:
        return self._pair.read(timeout_s)

    def write(self, data: bytes) -> None:
        self._pair.write(data)

    def set_baud(self, baud: int) -> float:
        if not 0 < baud <= _BAUD_MAX:
            raise Misuse(f"a serial port cannot do {baud} baud")
        codec = replace(self._codec, baud=baud)
        self._claim.control(codec.line_coding())
        self._codec = codec
        return float(baud)

    def gpio(self, mask: int, levels: int) -> None:
        raise Misuse(f"a CDC serial port has no pins {mask:#x} to set to {levels:#x}")

    def reset(self) -> None:
        self._claim.control(self._codec.line_coding())
        self._claim.control(self._codec.control_lines())
        self._pair.forget()

    def close(self) -> None:
        self._pair.close()
