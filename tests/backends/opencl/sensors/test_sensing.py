"""Sensors on recorded trees of sysfs, and on an NVML that is a fake."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from backends.opencl.protocol import Temperature
from backends.opencl.sensors import hwmon, nvml
from backends.opencl.sensors.hwmon import Hwmon
from backends.opencl.sensors.reading import SensorError
from backends.opencl.sensors.sensing import find_sensors, has_screen

PCI = "0000:03:00.0"

# An RX 6800 XT under amdgpu, Linux 6.1; an Arc A770 under i915, Linux 6.5; a B580 under xe, Linux 6.13.
AMD = {
    "vendor": "0x1002",
    "hwmon/hwmon4/name": "amdgpu",
    "hwmon/hwmon4/temp1_label": "edge",
    "hwmon/hwmon4/temp1_input": "61000",
    "hwmon/hwmon4/temp1_crit": "100000",
    "hwmon/hwmon4/temp2_label": "junction",
    "hwmon/hwmon4/temp2_input": "74000",
    "hwmon/hwmon4/temp2_crit": "110000",
    "hwmon/hwmon4/temp3_label": "mem",
    "hwmon/hwmon4/temp3_input": "58000",
    "hwmon/hwmon4/fan1_input": "1432",
    "hwmon/hwmon4/pwm1": "102",
    "hwmon/hwmon4/power1_average": "212000000",
    "hwmon/hwmon4/power1_cap": "255000000",
    "hwmon/hwmon4/power1_cap_min": "0",
    "hwmon/hwmon4/power1_cap_max": "293000000",
    "hwmon/hwmon4/freq1_input": "2289000000",
    "hwmon/hwmon4/in0_input": "1043",
    "drm/card0/card0-DP-1/status": "disconnected",
    "drm/card0/card0-HDMI-A-1/status": "connected",
}
I915 = {
    "vendor": "0x8086",
    "hwmon/hwmon2/name": "i915",
    "hwmon/hwmon2/energy1_input": "1000000000",
    "hwmon/hwmon2/power1_max": "190000000",
    "hwmon/hwmon2/in0_input": "951",
    "hwmon/hwmon2/fan1_input": "980",
    "drm/card1/gt_act_freq_mhz": "2400",
    "drm/card1/card1-DP-2/status": "disconnected",
}
XE = {
    "vendor": "0x8086",
    "hwmon/hwmon3/name": "xe",
    "hwmon/hwmon3/temp2_label": "pkg",
    "hwmon/hwmon3/temp2_input": "52000",
    "hwmon/hwmon3/temp3_label": "vram",
    "hwmon/hwmon3/temp3_input": "64000",
    "tile0/gt0/freq0/act_freq": "2850",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / PCI / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return root


def test_what_amdgpu_tells(tmp_path: Path) -> None:
    sensors = find_sensors(PCI, tree(tmp_path, AMD))
    assert sensors
    seen = sensors.read()
    assert seen.temperatures == (
        Temperature(sensor="edge", celsius=61.0, critical_c=100.0),
        Temperature(sensor="junction", celsius=74.0, critical_c=110.0),
        Temperature(sensor="mem", celsius=58.0),
    )
    assert (seen.power_w, seen.power_limit_w, seen.frequency_hz) == (212.0, 255.0, 2.289e9)
    assert seen.voltage_v == pytest.approx(1.043)
    assert (seen.fans_rpm, seen.source) == ((("fan1", 1432.0),), "hwmon")
    assert seen.fan == pytest.approx(0.4)


def test_what_i915_tells_its_power_as_a_difference(tmp_path: Path) -> None:
    card = tree(tmp_path, I915) / PCI
    now = [100.0]
    sensors = Hwmon(card, card / "hwmon" / "hwmon2", clock=lambda: now[0])
    first = sensors.read()
    assert (first.temperatures, first.power_w, first.frequency_hz) == ((), None, 2.4e9)
    assert (first.power_limit_w, first.fan) == (190.0, None)
    (card / "hwmon/hwmon2/power1_max").write_text("0")  # no limit
    assert sensors.read().power_limit_w is None
    now[0] += 2.0
    (card / "hwmon/hwmon2/energy1_input").write_text("1300000000")
    assert sensors.read().power_w == pytest.approx(150.0)
    now[0] += 2.0
    (card / "hwmon/hwmon2/energy1_input").write_text("7")  # it began anew
    assert sensors.read().power_w is None
    assert sensors.power_range() is None


def test_what_xe_tells_with_the_package_first(tmp_path: Path) -> None:
    sensors = find_sensors(PCI, tree(tmp_path, XE))
    assert sensors
    seen = sensors.read()
    assert [x.sensor for x in seen.temperatures] == ["pkg", "vram"]
    assert (seen.frequency_hz, seen.power_w, seen.fans_rpm) == (2.85e9, None, ())


@pytest.mark.parametrize("told", ["", "N/A", "-1e9", "99999999", "9" * 40, "\x00\xff"])
def test_what_is_no_temperature_is_left_out(tmp_path: Path, told: str) -> None:
    sensors = find_sensors(PCI, tree(tmp_path, AMD | {"hwmon/hwmon4/temp1_input": told}))
    assert sensors
    assert [x.sensor for x in sensors.read().temperatures] == ["junction", "mem"]


def test_a_card_that_vanishes_tells_nothing_and_raises_nothing(tmp_path: Path) -> None:
    sensors = find_sensors(PCI, tree(tmp_path, AMD))
    assert sensors
    for file in sorted((tmp_path / PCI).rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    seen = sensors.read()
    assert (seen.temperatures, seen.power_w, seen.fans_rpm, seen.frequency_hz) == ((), None, (), None)


def test_amds_power_limit_is_set_within_its_range_and_put_back(tmp_path: Path) -> None:
    sensors = find_sensors(PCI, tree(tmp_path, AMD))
    assert sensors
    limits = sensors.power_range()
    assert limits and (limits.least_w, limits.most_w) == (0.0, 293.0)
    assert sensors.limit_power(180.0) == 180.0
    cap = tmp_path / PCI / "hwmon/hwmon4/power1_cap"
    assert cap.read_text().strip() == "180000000"
    with pytest.raises(SensorError, match="not within its 0 to 293 W"):
        sensors.limit_power(400.0)
    sensors.limit_power(150.0)
    sensors.restore()
    assert cap.read_text().strip() == "255000000"


def test_without_an_address_or_with_a_strange_one_there_are_no_sensors(tmp_path: Path) -> None:
    tree(tmp_path, AMD)
    assert find_sensors(None, tmp_path) is None
    assert find_sensors("../0000:03:00.0", tmp_path) is None
    assert find_sensors("0000:04:00.0", tmp_path) is None


def test_a_screen_is_seen_where_one_is_plugged_in(tmp_path: Path) -> None:
    assert has_screen(PCI, tree(tmp_path / "amd", AMD))
    assert not has_screen(PCI, tree(tmp_path / "i915", I915))
    assert not has_screen(None, tmp_path)


class NvmlError(Exception):
    """As pynvml's."""


def a_library(**changes: Any) -> Any:
    """pynvml with one card. What is given as an exception is raised."""
    limits = {"now": 350_000}
    answers: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlDeviceGetHandleByPciBusId": "handle",
        "nvmlDeviceGetTemperature": 66,
        "nvmlDeviceGetTemperatureThreshold": 98,
        "nvmlDeviceGetPowerUsage": 301_500,
        "nvmlDeviceGetClockInfo": 1695,
        "nvmlDeviceGetFanSpeedRPM": 1800,
        "nvmlDeviceGetFanSpeed": 57,
        "nvmlDeviceGetPowerManagementLimitConstraints": [100_000, 350_000],
        **changes,
    }

    def answering(answer: Any) -> Any:
        def call(*_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    library = SimpleNamespace(
        NVMLError=NvmlError,
        NVML_TEMPERATURE_GPU=0,
        NVML_TEMPERATURE_THRESHOLD_SHUTDOWN=0,
        NVML_CLOCK_SM=1,
        limits=limits,
        nvmlDeviceGetPowerManagementLimit=lambda _: limits["now"],
        nvmlDeviceSetPowerManagementLimit=lambda _, milliwatts: limits.update(now=milliwatts),
    )
    for name, answer in answers.items():
        setattr(library, name, answer if callable(answer) else answering(answer))
    return library


def test_what_nvml_tells() -> None:
    asked: list[bytes] = []
    sensors = nvml.find(PCI, a_library(nvmlDeviceGetHandleByPciBusId=lambda pci: asked.append(pci) or "handle"))
    assert sensors
    assert asked == [PCI.encode()]
    seen = sensors.read()
    assert seen.temperatures == (Temperature(sensor="gpu", celsius=66.0, critical_c=98.0),)
    assert (seen.power_w, seen.power_limit_w, seen.frequency_hz) == (301.5, 350.0, 1.695e9)
    assert (seen.fans_rpm, seen.fan, seen.source) == ((("fan1", 1800.0),), 0.57, "nvml")


def test_what_nvml_does_not_tell_is_unknown_and_never_zero() -> None:
    lost = NvmlError("GPU is lost")
    sensors = nvml.find(
        PCI,
        a_library(
            nvmlDeviceGetTemperature=lost,
            nvmlDeviceGetPowerUsage=lost,
            nvmlDeviceGetFanSpeedRPM=lost,
            nvmlDeviceGetFanSpeed=lost,
            nvmlDeviceGetClockInfo=lost,
            nvmlDeviceGetPowerManagementLimitConstraints=lost,
        ),
    )
    assert sensors
    seen = sensors.read()
    assert (seen.temperatures, seen.power_w, seen.fans_rpm, seen.frequency_hz) == ((), None, (), None)
    assert seen.fan is None and sensors.power_range() is None


@pytest.mark.parametrize("call", ["nvmlInit", "nvmlDeviceGetHandleByPciBusId"])
def test_without_nvidias_driver_or_the_card_there_are_no_sensors(call: str) -> None:
    assert nvml.find(PCI, a_library(**{call: NvmlError("not found")})) is None


def test_the_real_library_imports_and_finds_nothing_without_a_driver() -> None:
    assert nvml.find("ffff:ff:1f.7") is None


def test_nvmls_power_limit_is_set_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    library = a_library()
    sensors = nvml.find(PCI, library)
    assert sensors
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    limits = sensors.power_range()
    assert limits and (limits.least_w, limits.most_w, limits.refused) == (100.0, 350.0, None)
    assert sensors.limit_power(220.0) == 220.0
    sensors.limit_power(200.0)
    assert library.limits["now"] == 200_000
    sensors.restore()
    assert library.limits["now"] == 350_000


def test_a_limit_that_nvml_refuses_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    library = a_library(nvmlDeviceSetPowerManagementLimit=NvmlError("Insufficient Permissions"))
    sensors = nvml.find(PCI, library)
    assert sensors
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    limits = sensors.power_range()
    assert limits and "only root" in str(limits.refused)
    with pytest.raises(SensorError, match="refuses a power limit of 220 W: Insufficient Permissions"):
        sensors.limit_power(220.0)
    sensors.restore()  # nothing was changed, so nothing is put back


def test_an_unreadable_attribute_is_none(tmp_path: Path) -> None:
    assert hwmon.text(tmp_path) is None
    assert hwmon.text(tmp_path / "gone") is None
