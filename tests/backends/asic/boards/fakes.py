"""Just enough of each board to start it: a clock that jumps, chips that keep registers, control ports that answer.

Made for these tests alone: what the drivers send is written down, and faults are put in by hand.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.asic.boards.script import Clock
from backends.asic.chips.crc import crc5, crc16
from backends.asic.usb.bridge import Parity
from backends.base import DeviceGone


class FakeTime:
    """Waiting moves it. `tick` is called before each operation of any bridge and each wait."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tick: Callable[[], None] = lambda: None

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, self._wait)

    def _wait(self, event: threading.Event, seconds: float) -> None:
        self.tick()
        if not event.is_set():
            self.now += seconds


@dataclass
class FakeBridge:
    """A bridge whose other end is `hears`."""

    time: FakeTime
    hears: Callable[[bytes], bytes] = lambda _data: b""
    baud: int = 0
    pins: int | None = None
    closed: bool = False
    gone: bool = False
    pending: bytes = b""
    pin_log: list[tuple[float, int]] = field(default_factory=list)

    def read(self, timeout_s: float) -> bytes:
        self._operate()
        if not self.pending:
            self.time.now += max(timeout_s, 1e-6)
        data, self.pending = self.pending[:4096], self.pending[4096:]
        return data

    def write(self, data: bytes) -> None:
        self._operate()
        self.pending += self.hears(data)

    def set_baud(self, baud: int) -> float:
        self._operate()
        self.baud = baud
        return float(baud)

    def gpio(self, mask: int, levels: int) -> None:
        self._operate()
        self.pins = (self.pins or 0) & ~mask | levels & mask
        self.pin_log.append((self.time.now, self.pins))

    def reset(self) -> None:
        self._operate()

    def close(self) -> None:
        self.closed = True

    def _operate(self) -> None:
        self.time.tick()
        if self.gone:
            raise DeviceGone("unplugged")


@dataclass
class FakeChip:
    """One chip: registers and jobs as they were written while it was powered and at the right speed."""

    identity: int
    powered: Callable[[], bool]
    host_baud: Callable[[], int]
    baud_of: Callable[[dict[int, int]], float]
    short_replies: bool = False
    replies: int = 1  # how often it answers
    registers: dict[int, int] = field(default_factory=dict)
    writes: list[tuple[int, int, int | None]] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)
    jobs: list[bytes] = field(default_factory=list)

    def reset(self) -> None:
        self.registers.clear()

    def hear(self, data: bytes) -> bytes:
        if not self.powered() or abs(self.host_baud() / self.baud_of(self.registers) - 1) > 0.05:
            return b""
        answer = b""
        while data:
            assert data[:2] == b"\x55\xaa", data.hex()
            if data[2] == 0x21:
                size = len(data)  # a job ends a write
                assert crc16(data[2:-2]) == data[-2:]
                self.jobs.append(data)
            else:
                size = data[3] + 2
                assert crc5(data[2 : size - 1]) == data[size - 1]
                answer += self._command(data[2:size])
            data = data[size:]
        return answer

    def reply(self, body: bytes, kind: int) -> bytes:
        """A frame of the length that the chip answers with now."""
        long = not self.short_replies and self.registers.get(0xA4, 0) >> 31
        body = body.ljust(8 if long else 6, b"\0")
        last = next(last for last in range(kind << 5, (kind << 5) + 32) if crc5(body + bytes((last,))) == 0)
        return b"\xaa\x55" + body + bytes((last,))

    def _command(self, body: bytes) -> bytes:
        self.commands.append(body[0])
        if body[0] & 0x0F == 1:
            address = None if body[0] & 0x10 else body[2]
            self.registers[body[3]] = int.from_bytes(body[4:8], "big")
            self.writes.append((body[3], self.registers[body[3]], address))
        if body[0] == 0x52 and body[3] == 0:
            return self.reply(self.identity.to_bytes(2, "big") + bytes(4), 0) * self.replies
        return b""


class FakeRaw:
    """The firmware behind a Bitaxe's control port: pins, and I2C devices as registers. `whole`: how it counts."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.pins: dict[int, int] = {0: 0}
        self.mute = False
        self.output_v = 0.0
        self.scale = 0.5  # what the regulator thinks its divider is, before it is told
        self.i2c: dict[int, dict[int, bytes]] = {
            0x4C: {0xFD: b"\x16", 0x01: b"\x37", 0x10: b"\x40", 0: b"\x1e", 0x46: b"\x6c", 0x47: b"\5", 0x4C: b"\0"},
            0x24: {0x20: b"\x17", 0x88: b"\x28\xe8", 0x8C: b"\x0c\x00", 0x8D: b"\x32\x00"},
        }
        self.log: list[bytes] = []

    @property
    def powered(self) -> bool:
        return self.i2c[0x24].get(0x01) == b"\x80" and self.pins[0] == 1

    def hear(self, frame: bytes) -> bytes:
        assert int.from_bytes(frame[:2], "little") == len(frame)
        self.log.append(frame[4:])
        if self.mute:
            return b""
        payload = self._do(frame[4], frame[5], frame[6:])
        if payload is None:
            return bytes((4, 0, frame[2], 0x10))
        size = len(payload) + (3 if self.whole else 0)
        return bytes((size, 0, frame[2])) + payload

    def _do(self, page: int, command: int, data: bytes) -> bytes | None:
        if page == 0x06:
            self.pins[command] = data[0]
            return data[:1]
        if command == 0x10:
            return b""
        device = self.i2c.get(data[0])
        if device is None:
            return None
        if command == 0x20:
            device[data[1]] = data[2:]
            if (data[0], data[1]) == (0x24, 0x29):
                self.scale = {0xF001: 0.25}[int.from_bytes(data[2:], "little")]
            return b""
        register, size = data[1], data[2]
        if (data[0], register) == (0x24, 0x8B):
            on = device.get(0x01) == b"\x80"
            return self._output(device).to_bytes(2, "little") if on else bytes(2)
        value = device.get(register)
        return None if value is None else value[:size]

    def _output(self, device: dict[int, bytes]) -> int:
        asked = int.from_bytes(device.get(0x21, b"\0\0"), "little")
        return int(asked * self.scale / 0.25)


class FakeMicro:
    """The microcontroller behind an A1's telemetry port."""

    def __init__(self, version: int = 0x30) -> None:
        self.version = version
        self.log: list[bytes] = []
        self.readings = bytes((208, 100, 75, 90, 150, 120, 60))
        self.mute = False

    def hear(self, command: bytes) -> bytes:
        self.log.append(command)
        if self.mute:
            return b""
        match command:
            case b"?v":
                return bytes((self.version,))
            case b"M.":
                return b"\x80"
            case b"G.":
                return self.readings
        return b"K"


@dataclass
class FakePorts:
    """An opened device."""

    bridges: list[FakeBridge]
    parities: dict[int, Parity] = field(default_factory=dict)

    @property
    def ports(self) -> int:
        return len(self.bridges)

    def bridge(self, port: int, parity: Parity = Parity.NONE) -> FakeBridge:
        self.parities[port] = parity
        return self.bridges[port]
