"""GekkoScience Compac F: one BM1397 behind an FT230X, its reset line on CBUS 1, no sensors.

Source: cgminer's driver-gekko.c (strings, reset pulse).
"""

from __future__ import annotations

from backends.asic.virtual.chips.chip import BM1397
from backends.asic.virtual.usb.ftdi import Ftdi, ft230x

from .board import Specification, Surroundings, VirtualBoard

_RESET_PIN = 0x2


class CompacF(VirtualBoard):
    """In reset while CBUS 1 is driven low; a pin that is not driven is pulled high."""

    specification = Specification(
        name="compac-f",
        title="GekkoScience Compac F",
        chip=BM1397,
        chips=1,
        nominal_hz=425e6,
        nominal_w=12.0,
        kelvin_per_w=3.0,
    )

    def __init__(self, around: Surroundings, serial: str) -> None:
        super().__init__(around)
        descriptors = ft230x("CompacF Bitcoin Miner", serial, "GekkoScience")
        self.device = Ftdi(descriptors, self.chain, around.faults, around.changed, around.clock)
        self.device.on_pins = self._pins
        self.device.power_on()

    def _pins(self, driven: int, levels: int) -> None:
        self.chain.power(on=self.device.plugged and not (driven & _RESET_PIN and not levels & _RESET_PIN))
