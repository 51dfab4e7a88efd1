"""Sensors and power limit of NVIDIA's cards, through the library of their driver (nvidia-ml-py).

Source: NVIDIA Management Library API reference (mW, MHz, percent). Without a driver there are none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pynvml

from backends.opencl.protocol import Sensed, Temperature
from backends.opencl.sensors.reading import PowerRange, SensorError


def find(pci: str, library: Any = pynvml) -> Nvml | None:
    """The sensors of the card at this PCI address. `library`: pynvml, or what stands in for it."""
    try:
        library.nvmlInit()
        return Nvml(library, library.nvmlDeviceGetHandleByPciBusId(pci.encode()))
    except library.NVMLError:
        return None


class Nvml:
    """Implements `sensing.Sensors`."""

    source = "nvml"

    def __init__(self, library: Any, handle: Any) -> None:
        self._nvml = library
        self._handle = handle
        self._found_mw: int | None = None

    def read(self) -> Sensed:
        nvml, handle = self._nvml, self._handle
        celsius = self._asked(lambda: nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))
        critical = self._asked(
            lambda: nvml.nvmlDeviceGetTemperatureThreshold(handle, nvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN)
        )
        milliwatts = self._asked(lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        limit = self._asked(lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))
        percent = self._asked(lambda: nvml.nvmlDeviceGetFanSpeed(handle))  # the speed that is intended
        megahertz = self._asked(lambda: nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))
        return Sensed(
            temperatures=()
            if celsius is None or not -100 <= celsius <= 300
            else (
                Temperature(
                    sensor="gpu", celsius=celsius, critical_c=critical if critical and critical <= 300 else None
                ),
            ),
            fans_rpm=self._fans(),
            fan=None if percent is None else min(percent / 100, 1.0),
            power_w=None if milliwatts is None else milliwatts / 1e3,
            power_limit_w=None if limit is None else limit / 1e3,
            frequency_hz=None if megahertz is None else megahertz * 1e6,
            source=self.source,
        )

    def power_range(self) -> PowerRange | None:
        found = self._asked(lambda: self._nvml.nvmlDeviceGetPowerManagementLimitConstraints(self._handle))
        if found is None:
            return None
        least, most = found
        refused = None if os.geteuid() == 0 else "NVIDIA's driver lets only root set the power limit"
        return PowerRange(least / 1e3, most / 1e3, refused)

    def limit_power(self, power_w: float) -> float:
        found = self._asked(lambda: self._nvml.nvmlDeviceGetPowerManagementLimit(self._handle))
        self._limit(round(power_w * 1e3))
        if self._found_mw is None:
            self._found_mw = found
        now = self._asked(lambda: self._nvml.nvmlDeviceGetPowerManagementLimit(self._handle))
        return power_w if now is None else now / 1e3

    def restore(self) -> None:
        if self._found_mw is not None:
            self._limit(self._found_mw)
            self._found_mw = None

    def _limit(self, milliwatts: int) -> None:
        try:
            self._nvml.nvmlDeviceSetPowerManagementLimit(self._handle, milliwatts)
        except self._nvml.NVMLError as error:
            raise SensorError(f"the driver refuses a power limit of {milliwatts / 1e3:g} W: {error}") from error

    def _fans(self) -> tuple[tuple[str, float], ...]:
        """The first fan's: of others NVML tells percentages alone, which are no revolutions."""
        rpm = self._asked(lambda: self._nvml.nvmlDeviceGetFanSpeedRPM(self._handle))
        return () if rpm is None else (("fan1", float(rpm)),)

    def _asked(self, question: Callable[[], Any]) -> Any:
        """None for what this card or driver does not tell."""
        with suppress(self._nvml.NVMLError, AttributeError):
            return question()
        return None
