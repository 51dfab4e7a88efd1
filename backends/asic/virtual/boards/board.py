"""A virtual board: a USB device, a chain of chips, and the heat that hashing makes."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.asic.virtual.chips.chain import Chain, Search
from backends.asic.virtual.chips.chip import ChipKind
from backends.asic.virtual.faults import Fault, Faults
from backends.asic.virtual.usb.device import UsbDevice

AMBIENT_C = 25.0


@dataclass(frozen=True, slots=True)
class Specification:
    """What the catalogue says of a kind of board. Heat and power are plausible, not measured."""

    name: str  # "compac-f"
    title: str
    chip: ChipKind
    chips: int
    nominal_hz: float  # the clock that the scale is reckoned for
    nominal_w: float
    kelvin_per_w: float

    @property
    def nominal_hps(self) -> float:
        return self.chip.small_cores * self.chips * self.nominal_hz


@dataclass(slots=True)
class Surroundings:
    """What every board of a bus shares."""

    changed: threading.Condition
    clock: Callable[[], float]
    search: Search | None
    scale: Callable[[], float]  # may take seconds when first asked
    faults: Faults = field(default_factory=Faults)


class Heat:
    """A body that nears `ambient + power * resistance` with a time constant."""

    def __init__(self, kelvin_per_w: float, clock: Callable[[], float], time_constant_s: float = 15.0) -> None:
        self._kelvin_per_w = kelvin_per_w
        self._clock = clock
        self._time_constant_s = time_constant_s
        self._at_s = clock()
        self._celsius = AMBIENT_C

    def celsius(self, power_w: float, cooling: float = 1.0) -> float:
        """Now, had this power been drawn since the last call; cooling: 1 as specified, less with a slower fan."""
        return self.nearing(AMBIENT_C + power_w * self._kelvin_per_w / max(cooling, 0.2))

    def nearing(self, end: float) -> float:
        """Degrees Celsius now, had the body neared `end` degrees since the last call."""
        now = self._clock()
        self._celsius = end + (self._celsius - end) * math.exp((self._at_s - now) / self._time_constant_s)
        self._at_s = now
        return self._celsius


class VirtualBoard:
    """Base of the kinds. Subclasses wire `device` to `chain`."""

    specification: Specification
    device: UsbDevice

    def __init__(self, around: Surroundings) -> None:
        self.faults = around.faults
        self.changed = around.changed
        self.clock = around.clock
        self.scale = around.scale
        kind = self.specification
        self.chain = Chain(
            kind.chip, kind.chips, around.faults, around.changed, around.clock, around.search, around.scale
        )
        self.heat = Heat(kind.kelvin_per_w, around.clock)

    def power_w(self, volts: float = 1.0, nominal_v: float = 1.0) -> float:
        """Drawn now: by the clock and the square of the voltage while hashing, a twentieth of the nominal else."""
        kind = self.specification
        idle_w = kind.nominal_w / 20
        if not self.chain.busy:
            return idle_w
        return idle_w + kind.nominal_w * 0.95 * self.chain.hps / kind.nominal_hps * (volts / nominal_v) ** 2

    def body_c(self, power_w: float, cooling: float = 1.0) -> float:
        """Degrees Celsius of the chips, had this power been drawn since the last call; cooling: as for `Heat`."""
        uncooled_c = self.faults.value(Fault.COOLER)
        if uncooled_c is None or not self.chain.busy:
            return self.heat.celsius(power_w, cooling)
        return self.heat.nearing(uncooled_c)

    def shown_c(self, celsius: float) -> float:
        """What a sensor in a body of this temperature shows."""
        hot = self.faults.value(Fault.HOT)
        return celsius if hot is None else max(celsius, hot)

    def unplug(self) -> None:
        """Pull the plug: everything in flight fails, everything forgets."""
        with self.changed:
            self.device.plugged = False
            self.chain.power(on=False)
            self.changed.notify_all()

    def replug(self) -> None:
        with self.changed:
            self.device.plugged = True
            self.device.reset()
            self.changed.notify_all()

    def close(self) -> None:
        """End the board's thread."""
        self.chain.close()
