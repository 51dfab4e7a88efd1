"""Sensors of AMD's and Intel's cards as Linux shows them below their PCI device.

Source: Linux Documentation, hwmon/sysfs-interface.rst (m°C, mV, µW, µJ, Hz), gpu/amdgpu/thermal.rst, and
ABI/testing/sysfs-driver-intel-i915-hwmon and -xe-hwmon. AMD's first temperature is the edge, Intel's the package.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from backends.opencl.protocol import Sensed, Temperature
from backends.opencl.sensors.reading import PowerRange, SensorError

_LONGEST = 64  # bytes of an attribute
_NUMBERED = re.compile(r"\w+?(\d+)_input")
# Intel's drivers tell the clock elsewhere than in hwmon: i915, then xe.
_ACTUAL_MHZ = ("drm/card*/gt_act_freq_mhz", "tile0/gt0/freq0/act_freq")


def text(file: Path) -> str | None:
    """An attribute's text; None when it is not there or cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(_LONGEST).decode("ascii", "replace").strip()
    except OSError:
        return None


def find(card: Path) -> Hwmon | None:
    """The sensors of a PCI device, by its folder in sysfs."""
    folders = sorted(card.glob("hwmon/hwmon*"))
    return Hwmon(card, folders[0]) if folders else None


class Hwmon:
    """Implements `sensing.Sensors`. clock: of the differences between two readings of an energy counter."""

    source = "hwmon"

    def __init__(self, card: Path, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._card = card
        self._folder = folder
        self._clock = clock
        self._energy: tuple[float, float] | None = None  # when, J
        self._found_uw: float | None = None

    def read(self) -> Sensed:
        clock_hz = self._number("freq1_input")
        if clock_hz is None:
            clock_hz = self._intel_clock_hz()
        return Sensed(
            temperatures=tuple(x for x in map(self._temperature, self._numbered("temp")) if x is not None)[:16],
            fans_rpm=tuple(
                (text(self._folder / f"fan{n}_label") or f"fan{n}", rpm)
                for n in self._numbered("fan")
                if (rpm := self._number(f"fan{n}_input")) is not None
            )[:16],
            fan=fan if (fan := self._scaled("pwm1", 1 / 255)) is not None and fan <= 1 else None,
            power_w=self._power_w(),
            power_limit_w=self._power_limit_w(),
            frequency_hz=clock_hz,
            voltage_v=self._scaled("in0_input", 1e-3),
            source=self.source,
        )

    def power_range(self) -> PowerRange | None:
        cap = self._folder / "power1_cap"
        least, most = self._scaled("power1_cap_min", 1e-6), self._scaled("power1_cap_max", 1e-6)
        if text(cap) is None or most is None or not most > 0:
            return None
        refused = None if os.access(cap, os.W_OK) else f"only root may write {cap}"
        return PowerRange(least or 0.0, most, refused)

    def limit_power(self, power_w: float) -> float:
        limits = self.power_range()
        if limits is None:
            raise SensorError("its driver has no power limit to set")
        if not limits.least_w <= power_w <= limits.most_w:
            raise SensorError(f"{power_w:g} W is not within its {limits.least_w:g} to {limits.most_w:g} W")
        if self._found_uw is None:
            self._found_uw = self._number("power1_cap")
        self._write_cap(round(power_w * 1e6))
        return self._scaled("power1_cap", 1e-6) or power_w

    def restore(self) -> None:
        if self._found_uw is not None:
            self._write_cap(round(self._found_uw))
            self._found_uw = None

    def _write_cap(self, microwatts: int) -> None:
        cap = self._folder / "power1_cap"
        try:
            cap.write_text(f"{microwatts}\n")
        except OSError as error:
            raise SensorError(f"the power limit cannot be written: {cap}: {error.strerror}") from error

    def _temperature(self, number: int) -> Temperature | None:
        celsius = self._scaled(f"temp{number}_input", 1e-3)
        if celsius is None or not -100 <= celsius <= 300:
            return None
        critical = self._scaled(f"temp{number}_crit", 1e-3)
        if critical is not None and not 50 <= critical <= 150:  # some drivers say 0 for unknown
            critical = None
        label = text(self._folder / f"temp{number}_label") or f"temp{number}"
        return Temperature(sensor=label, celsius=celsius, critical_c=critical)

    def _power_w(self) -> float | None:
        for name in ("power1_average", "power1_input"):
            if (watts := self._scaled(name, 1e-6)) is not None:
                return watts
        joules, now = self._scaled("energy1_input", 1e-6), self._clock()
        if joules is None:
            return None
        before, self._energy = self._energy, (now, joules)
        if before is None or now <= before[0] or joules < before[1]:
            return None
        return (joules - before[1]) / (now - before[0])

    def _power_limit_w(self) -> float | None:
        """AMD's cap; Intel's sustained limit, which is 0 when it is off."""
        cap_w = self._scaled("power1_cap", 1e-6)
        return self._scaled("power1_max", 1e-6) or None if cap_w is None else cap_w

    def _intel_clock_hz(self) -> float | None:
        for pattern in _ACTUAL_MHZ:
            for file in sorted(self._card.glob(pattern)):
                if (mhz := _parsed(text(file))) is not None:
                    return mhz * 1e6
        return None

    def _numbered(self, kind: str) -> list[int]:
        names = (_NUMBERED.fullmatch(file.name) for file in self._folder.glob(f"{kind}*_input"))
        return sorted(int(name[1]) for name in names if name)

    def _scaled(self, name: str, factor: float) -> float | None:
        number = self._number(name)
        return None if number is None else number * factor

    def _number(self, name: str) -> float | None:
        number = _parsed(text(self._folder / name))
        return None if number is None or (number < 0 and not name.startswith("temp")) else number


def _parsed(told: str | None) -> float | None:
    return float(told) if told and re.fullmatch(r"-?\d{1,18}", told) else None
