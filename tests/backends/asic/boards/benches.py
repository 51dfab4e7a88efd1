"""One bench for each board: the driver, and everything that it drives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backends.asic.boards.board import Board
from backends.asic.boards.catalogue import KINDS, open_board
from backends.asic.boards.chain import Options
from backends.asic.chips.ticket import UNIT
from native.sha256 import midstate
from tests.backends.asic.boards.fakes import FakeBridge, FakeChip, FakeMicro, FakePorts, FakeRaw, FakeTime


@dataclass
class Bench:
    board: Board
    time: FakeTime
    line: FakeBridge
    chip: FakeChip
    ports: FakePorts
    is_cut: Callable[[], bool]  # whether the chip is held and, where there is one, the regulator is off
    raw: FakeRaw | None = None
    micro: FakeMicro | None = None

    def result(self, tag: int, nonce: bytes, version_bits: int = 0) -> bytes:
        """What the chip says when it found this nonce, 4 bytes as in a header."""
        return self.chip.reply(nonce + b"\0" + bytes((tag,)) + version_bits.to_bytes(2, "big"), 4)

    def short_result(self, tag: int, nonce: bytes) -> bytes:
        return self.chip.reply(nonce + b"\0" + bytes((tag,)), 4)


def slow_midstates(prefix: bytes, versions: Any) -> list[list[int]]:
    return [midstate(version.to_bytes(4, "little") + prefix[4:]) for version in versions]


def _open(name: str, time: FakeTime, ports: FakePorts, unit: int) -> Board:
    return open_board(KINDS[name], ports, Options(unit, time.clock), slow_midstates)


def compac_f(unit: int = UNIT) -> Bench:
    time = FakeTime()
    line = FakeBridge(time)
    chip = FakeChip(0x1397, lambda: line.pins == 2, lambda: line.baud, _bm1397_baud)

    def hear(data: bytes) -> bytes:
        return chip.hear(data)

    def pins(mask: int, levels: int, set_pins: Callable[[int, int], None] = line.gpio) -> None:
        set_pins(mask, levels)
        if levels == 0:
            chip.reset()

    line.hears, line.gpio = hear, pins  # type: ignore[method-assign]
    ports = FakePorts([line])
    return Bench(_open("compac-f", time, ports, unit), time, line, chip, ports, lambda: line.pins == 0)


def bitaxe_gamma(unit: int = UNIT, *, whole: bool = False) -> Bench:
    time, raw = FakeTime(), FakeRaw(whole=whole)
    control, line = FakeBridge(time), FakeBridge(time)
    chip = FakeChip(0x1370, lambda: raw.powered, lambda: line.baud, _fast_uart_baud)
    line.hears = chip.hear

    def hear(request: bytes) -> bytes:
        answer = raw.hear(request)
        if not raw.powered:
            chip.reset()
        return answer

    control.hears = hear

    def cut() -> bool:
        return raw.pins[0] == 0 and raw.i2c[0x24].get(0x01) == b"\x00"

    ports = FakePorts([control, line])
    return Bench(_open("bitaxe-gamma", time, ports, unit), time, line, chip, ports, cut, raw=raw)


def compac_a1(unit: int = UNIT, *, version: int = 0x30) -> Bench:
    time, micro = FakeTime(), FakeMicro(version)
    line, telemetry = FakeBridge(time), FakeBridge(time, micro.hear)
    chip = FakeChip(0x1362, lambda: line.pins == 0, lambda: line.baud, _fast_uart_baud)
    line.hears = chip.hear
    ports = FakePorts([line, telemetry])
    return Bench(_open("compac-a1", time, ports, unit), time, line, chip, ports, lambda: line.pins == 7, micro=micro)


def _bm1397_baud(registers: dict[int, int]) -> float:
    return 25e6 / (8 * ((registers.get(0x18, 0x7A31) >> 8 & 0x1F) + 1))


def _fast_uart_baud(registers: dict[int, int]) -> float:
    return 25e6 / (8 * ((registers.get(0x28, 0x01301A00) >> 8 & 0xFF) + 1))


BENCHES: dict[str, Callable[[], Bench]] = {
    "compac-f": compac_f,
    "bitaxe-gamma": bitaxe_gamma,
    "bitaxe-gamma-whole": lambda: bitaxe_gamma(whole=True),
    "compac-a1": compac_a1,
}
