"""bitaxe-raw's control channel: I2C, pins and the ADC of the board as requests with a length.

Answers have the newer form's error frames and the original's length (of the payload alone), as the firmware for Gamma
has them. A request must come in one piece: what is not whole is dropped.
Source: bitaxe-raw's README.md and src/control/mod.rs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from .i2c import I2cDevice, NoAnswerError

_NO_PAGE, _I2C, _GPIO, _ADC = 0x00, 0x05, 0x06, 0x07
_SET_FREQUENCY, _WRITE, _READ, _WRITE_READ = 0x10, 0x20, 0x30, 0x40
_TIMEOUT, _INVALID, _OVERFLOW = 0x10, 0x11, 0x12
_MALFORMED_ID = 0xFF
_LARGEST = 256  # bytes of an I2C transfer


class _RefusedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ControlChannel:
    """`on_pin(pin, level)` is called when a pin is set; `adc` gives the raw value of a channel."""

    def __init__(
        self,
        devices: Mapping[int, I2cDevice],
        on_pin: Callable[[int, bool], None],
        adc: Callable[[int], int | None],
    ) -> None:
        self.reply: Callable[[bytes, float], None] = lambda _data, _baud: None
        self._devices = devices
        self._on_pin = on_pin
        self._adc = adc
        self._pins: dict[int, bool] = {}

    def power_on(self) -> None:
        self._pins.clear()

    def receive(self, data: bytes, baud: float) -> None:
        while data:
            length = struct.unpack("<H", data[:2])[0] if len(data) >= 6 else 0
            if not 6 <= length <= len(data):
                self._error(_MALFORMED_ID, _INVALID, baud)
                return
            self._request(data[:length], baud)
            data = data[length:]

    def _request(self, request: bytes, baud: float) -> None:
        number, bus, page, command, body = request[2], request[3], request[4], request[5], request[6:]
        try:
            payload = self._pages(page if not bus else _NO_PAGE, command, body)
        except _RefusedError as refused:
            self._error(number, refused.code, baud)
        except NoAnswerError:
            self._error(number, _TIMEOUT, baud)
        else:
            self.reply(struct.pack("<HB", len(payload), number) + payload, baud)

    def _pages(self, page: int, command: int, body: bytes) -> bytes:
        if page == _I2C:
            return self._i2c(command, body)
        if page == _GPIO:
            return self._gpio(command, body)
        if page == _ADC and (value := self._adc(command)) is not None:
            return struct.pack("<H", value)
        raise _RefusedError(_INVALID)

    def _i2c(self, command: int, body: bytes) -> bytes:
        if command == _SET_FREQUENCY and len(body) == 4:
            return b""
        if not body:
            raise _RefusedError(_INVALID)
        device = self._devices.get(body[0])
        if device is None:
            raise NoAnswerError
        if command == _WRITE:
            device.write(body[1:])
            return b""
        if command not in {_READ, _WRITE_READ} or len(body) < 2:
            raise _RefusedError(_INVALID)
        if command == _WRITE_READ:
            device.write(body[1:-1])
        if body[-1] > _LARGEST:
            raise _RefusedError(_OVERFLOW)
        return device.read(body[-1])

    def _gpio(self, pin: int, body: bytes) -> bytes:
        if len(body) > 1:
            raise _RefusedError(_INVALID)
        if body:
            self._pins[pin] = bool(body[0])
            self._on_pin(pin, self._pins[pin])
        return bytes((self._pins.get(pin, False),))

    def _error(self, number: int, code: int, baud: float) -> None:
        self.reply(struct.pack("<HBB", 4, number, code), baud)
