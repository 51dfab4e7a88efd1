"""The control port of Bitaxe boards that run the bitaxe-raw firmware: I2C and pins by request and reply.

    request   length 2 LE, of all   id   bus   page   command   data
    reply     length 2 LE           id   payload
    error     length 2 LE, of all   id   code

A reply's length is that of its payload in the original firmware and that of everything in newer ones. An error and a
reply of one byte look the same in the latter: there, who asks for one byte gets what comes.
Source: bitaxeorg/bitaxe-raw README.md and src/control, 256foundation/mujina mgmt_protocol/bitaxe_raw.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import IntEnum

from backends.asic.boards.script import Clock
from backends.asic.usb.bridge import Bridge
from backends.base import BackendError, DeviceFault, Misuse

_HEAD = 3  # bytes in front of a reply's payload
_ERRORS = {0x10: "time-out", 0x11: "invalid", 0x12: "denied", 0x13: "fault", 0xFF: "refused"}
_REQUEST_MAX = 256
_LOCK_S = _ANSWER_S = 0.5  # the wait for the port and the one for the answer: together within a second
_LATE_S = 0.01


class Page(IntEnum):
    """What a request is for."""

    I2C = 0x05
    GPIO = 0x06


@dataclass(frozen=True, slots=True)
class Request:
    """`expect`: bytes of the answer; None for one that only acknowledges, with whatever it says."""

    page: int
    command: int
    data: bytes = b""
    expect: int | None = None

    def frame(self, number: int) -> bytes:
        """Raises Misuse for more data than a frame holds."""
        size = 6 + len(self.data)
        if size > _REQUEST_MAX:
            raise Misuse(f"a request of {size} bytes does not fit the control port")
        return size.to_bytes(2, "little") + bytes((number, 0, self.page, self.command)) + self.data


def set_pin(pin: int, level: int) -> Request:
    """Drive a pin; pin 0 is the chips' reset line, low while they are held."""
    return Request(Page.GPIO, pin, bytes((level,)))


def set_i2c_frequency(hertz: int) -> Request:
    """The I2C bus' clock."""
    return Request(Page.I2C, 0x10, hertz.to_bytes(4, "little"))


def write_i2c(address: int, *data: int) -> Request:
    """A register's number and what to write into it."""
    return Request(Page.I2C, 0x20, bytes((address, *data)))


def read_i2c(address: int, register: int, size: int) -> Request:
    """Read a register of `size` bytes."""
    return Request(Page.I2C, 0x40, bytes((address, register, size)), expect=size)


@dataclass(frozen=True, slots=True)
class Reply:
    """`whole`: whether the firmware counts the whole frame as its length; None when this one does not tell."""

    payload: bytes
    whole: bool | None


def parse_reply(frame: bytes, number: int, expect: int | None, *, whole: bool | None = None) -> Reply | None:
    """What has come of an answer to request `number`; None while more is to come.

    whole: what is known of the firmware from earlier replies. Raises DeviceFault for an error, a reply to something
    else, or bytes that can become no reply.
    """
    if len(frame) < _HEAD:
        return None
    length, size = int.from_bytes(frame[:2], "little"), len(frame) - _HEAD
    if frame[2] != number:
        raise DeviceFault(f"control port answers request {frame[2]}, not {number}")
    if length == len(frame) == _HEAD + 1 and (expect != 1 or whole is False):
        code = frame[_HEAD]
        if code in _ERRORS:
            raise DeviceFault(f"control port reports an error: {_ERRORS[code]} ({code:02x})")
    if expect is not None:
        if size == expect and length in {size, len(frame)}:
            return Reply(frame[_HEAD:], length == len(frame))
        if size < expect and length in {expect, expect + _HEAD, _HEAD + 1}:
            return None
    elif size <= 1:
        if length in {size, len(frame)}:
            return Reply(frame[_HEAD:], length == len(frame))
        if size == 0 and length in {1, _HEAD + 1}:
            return None
    raise DeviceFault(f"control port answers nonsense: {frame[:8].hex(' ')}")


class ControlPort:
    """Asks one thing at a time, whichever thread asks; answers or raises within a second."""

    def __init__(self, bridge: Bridge, clock: Clock) -> None:
        self._bridge, self._clock = bridge, clock
        self._lock = threading.Lock()
        self._number = 0
        self._whole: bool | None = None
        self._late = True  # whether answers may lie there that nobody waits for

    def ask(self, request: Request) -> bytes:
        """The answer's payload. Raises DeviceFault for an error or none, DeviceGone, BridgeStalled."""
        if not self._lock.acquire(timeout=_LOCK_S):
            raise DeviceFault("control port is busy")
        try:
            return self._ask(request)
        except BackendError:
            self._late = True
            raise
        finally:
            self._lock.release()

    def tell(self, request: Request) -> None:
        """Send it, now, and do not wait for an answer: for what must happen though the port is busy or mute."""
        self._late = True
        self._bridge.write(request.frame(0))

    def close(self) -> None:
        """Give the bridge back."""
        self._bridge.close()

    def _ask(self, request: Request) -> bytes:
        until = self._clock.now() + _ANSWER_S
        if self._late:
            self._late = False
            while self._bridge.read(_LATE_S) and self._clock.now() < until:
                pass
        self._number = self._number % 0xFE + 1  # 0 is what `tell` uses, ff what malformed requests are answered with
        self._bridge.write(request.frame(self._number))
        heard = b""
        while (left := until - self._clock.now()) > 0:
            heard += self._bridge.read(left)
            reply = parse_reply(heard, self._number, request.expect, whole=self._whole)
            if reply is not None:
                self._whole = reply.whole
                return reply.payload
        raise DeviceFault("control port does not answer")
