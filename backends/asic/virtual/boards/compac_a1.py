"""GekkoScience Compac A1: one BM1362 behind a CP2105, and on its second port a controller that measures and regulates.

Source: cgminer's driver-gekko.c (latch, two-byte commands, scales). What a one-byte reply holds is not known: here it
repeats the command's second byte.
"""

from __future__ import annotations

from collections.abc import Callable

from backends.asic.virtual.chips.chip import BM1362
from backends.asic.virtual.faults import Fault
from backends.asic.virtual.line import understand
from backends.asic.virtual.usb.cp2105 import Cp2105, cp2105

from .board import Specification, Surroundings, VirtualBoard

_OFF_PINS = 0x07
_NOMINAL_V = 0.3
_LOWEST_V = 0.2
_VERSION = 0x30
_MASK = 0x80  # currents are in steps of the larger scale
_BAUD = 115_200.0
_INPUT_V = 5.0


class CompacA1(VirtualBoard):
    """Chips and regulator are off while any of the latch's low three pins is high, as they are after a port reset."""

    specification = Specification(
        name="compac-a1",
        title="GekkoScience Compac A1",
        chip=BM1362,
        chips=1,
        nominal_hz=300e6,
        nominal_w=5.0,
        kelvin_per_w=5.0,
    )

    def __init__(self, around: Surroundings, serial: str) -> None:
        super().__init__(around)
        self.core_v = _NOMINAL_V
        self.regulator = True
        self.fan = 1.0
        self._latch = _OFF_PINS
        controller = _Controller(self)
        descriptors = cp2105("GekkoScience Compac A1", serial)
        self.device = Cp2105(descriptors, (self.chain, controller), around.faults, around.changed, around.clock)
        self.device.on_latch = self._on_latch
        self.device.power_on()

    @property
    def on(self) -> bool:
        return self.device.plugged and self.regulator and not self._latch & _OFF_PINS

    def regulate(self, volts: float | None = None, *, on: bool | None = None) -> None:
        """The controller's regulator: its voltage, or whether it runs."""
        self.core_v = self.core_v if volts is None else volts
        self.regulator = self.regulator if on is None else on
        self.chain.power(on=self.on and self.core_v >= _LOWEST_V)

    def measured(self) -> bytes:
        """Input volts and amperes, core volts and amperes, two temperatures, fan: a byte each."""
        power_w = self.power_w(self.core_v, _NOMINAL_V) if self.on else 0.25
        core_v = self.core_v if self.on else 0.0
        celsius = self.body_c(power_w, self.fan)
        warm = 0 if self.faults.value(Fault.SENSOR) is not None else _temperature(self.shown_c(celsius))
        return bytes(
            (
                _byte(_INPUT_V * 255 / (12 * 2.048)),
                _byte(power_w / _INPUT_V * 255 / (2.048 * 20)),
                _byte(core_v * 2 * 255 / 2.048),
                _byte(power_w * 0.9 / core_v * 255 / (2.048 * 20) if core_v else 0),
                warm,
                warm,
                _byte(self.fan * 4500 / 30),
            )
        )

    def _on_latch(self, state: int) -> None:
        if state & _OFF_PINS:
            self.core_v, self.regulator = _NOMINAL_V, True  # what it starts with when it is let go
        self._latch = state
        self.regulate()


class _Controller:
    """Two-byte commands in, a few bytes out."""

    def __init__(self, board: CompacA1) -> None:
        self.reply: Callable[[bytes, float], None] = lambda _data, _baud: None
        self._board = board
        self._input = b""

    def receive(self, data: bytes, baud: float) -> None:
        if not understand(baud, _BAUD):
            return
        self._input = (self._input + data)[-64:]
        while len(self._input) >= 2:
            command, self._input = self._input[:2], self._input[2:]
            if answer := self._obey(chr(command[0]), command[1]):
                self.reply(answer, _BAUD)

    def _obey(self, command: str, value: int) -> bytes:
        board = self._board
        match command, chr(value):
            case "?", "v":
                return bytes((_VERSION,))
            case "M", ".":
                return bytes((_MASK,))
            case "G", ".":
                return board.measured()
            case "V", _:
                board.regulate(value * 5 / 1000)
            case "B", "O" | "-":
                board.regulate(on=value == ord("O"))
            case "L", "-" | "H" | "N" | "O":
                pass
            case "F", _ if value <= 100:
                board.fan = value / 100
            case _:
                return b""
        return bytes((value,))


def _byte(value: float) -> int:
    return max(0, min(255, round(value)))


def _temperature(celsius: float) -> int:
    return max(1, _byte((celsius + 50) * 218 / 175))
