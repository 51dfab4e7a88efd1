"""Bitaxe Gamma with bitaxe-raw: one BM1370, its reset line on pin 0, a regulator and sensors on I2C.

Sources: mujina's board/bitaxe.rs (order of bringing it up), ESP-Miner (sensors). Chips have power from 0.9 V on: the
exact limit is not known.
"""

from __future__ import annotations

from backends.asic.virtual.chips.chip import BM1370
from backends.asic.virtual.faults import Fault
from backends.asic.virtual.usb.cdc_acm import CdcAcm, bitaxe_raw

from .bitaxe_raw import ControlChannel
from .board import AMBIENT_C, Specification, Surroundings, VirtualBoard
from .i2c import Emc2101, I2cDevice, Ina260, NoAnswerError, Tps546

_RESET_PIN = 0
_LOWEST_V = 0.9
_NOMINAL_V = 1.15
_INPUT_V = 5.1
_ADC = {0x50: 1300, 0x51: 2550}  # VDD and VIN; how boards scale them is not known


class BitaxeGamma(VirtualBoard):
    """Dead while the reset pin is low, as it is after power-on, or the regulator gives too little."""

    specification = Specification(
        name="bitaxe-gamma",
        title="Bitaxe Gamma (bitaxe-raw)",
        chip=BM1370,
        chips=1,
        nominal_hz=525e6,
        nominal_w=19.0,
        kelvin_per_w=1.9,
    )

    def __init__(self, around: Surroundings, serial: str) -> None:
        super().__init__(around)
        self._released = False
        self.fan = Emc2101(self._chip_c, lambda: AMBIENT_C + 10)
        self.regulator = Tps546(self._power, lambda: (self._output_w() / _NOMINAL_V, _INPUT_V, self._regulator_c()))
        meter = Ina260(lambda: ((self._output_w() / 0.9 + 1.0) / _INPUT_V, _INPUT_V))
        i2c: dict[int, I2cDevice] = {Emc2101.ADDRESS: self.fan, Ina260.ADDRESS: meter, Tps546.ADDRESS: self.regulator}
        self._control = ControlChannel(i2c, self._on_pin, _ADC.get)
        fars = (self._control, self.chain)
        self.device = CdcAcm(bitaxe_raw(serial), fars, around.faults, around.changed, around.clock)

    def replug(self) -> None:
        with self.changed:
            self._released = False
            self._control.power_on()
            self.regulator.power_on()
            super().replug()

    def _on_pin(self, pin: int, level: bool) -> None:  # noqa: FBT001 # a level on a pin
        if pin == _RESET_PIN:
            self._released = level
            self._power()

    def _power(self) -> None:
        self.chain.power(on=self.device.plugged and self._released and self.regulator.volts >= _LOWEST_V)

    def _output_w(self) -> float:
        return self.power_w(self.regulator.volts, _NOMINAL_V) if self.regulator.volts else 0.0

    def _chip_c(self) -> float | None:
        if self.faults.value(Fault.SENSOR) is not None:
            return None
        return self.shown_c(self.body_c(self._output_w(), 0.3 + 0.7 * self.fan.fan))

    def _regulator_c(self) -> float:
        if self.faults.value(Fault.SENSOR) is not None:
            raise NoAnswerError
        return self.shown_c(AMBIENT_C + 15 + self._output_w())
