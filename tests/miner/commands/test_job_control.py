"""Ctrl-Z with devices that rest, that do not, and a process that is only said to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from structlog.testing import capture_logs

from miner.commands.job_control import JobControl


class Devices:
    """In the engine's place. `on`: what does not go off."""

    def __init__(self, told: list[str], on: list[str] | None = None) -> None:
        self.finishing = False
        self._told = told
        self._on = on or []
        self.meanwhile: Callable[[], None] = lambda: None

    def hold(self, name: str, text: str) -> None:
        assert "Ctrl-Z" in text
        self._told.append(f"hold {name}")

    def release(self, name: str) -> None:
        self._told.append(f"release {name}")

    async def rest(self, timeout: float) -> list[str]:
        assert timeout > 0
        await asyncio.sleep(0)
        self.meanwhile()
        self._told.append("rested")
        return self._on


class Screen:
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def close(self) -> None:
        self._told.append("screen closed")

    def look(self) -> None:
        self._told.append("screen drawn")


def job_control(told: list[str], devices: Devices) -> JobControl:
    return JobControl(devices, Screen(told), stop=lambda: told.append("process stopped"))


def test_devices_rest_before_the_process_stops_and_wake_when_it_goes_on() -> None:
    told: list[str] = []
    asyncio.run(job_control(told, Devices(told)).suspend())
    assert told == [
        "hold stopped",
        "rested",
        "screen closed",
        "process stopped",
        "screen drawn",
        "release stopped",
    ]


def test_with_a_device_that_does_not_go_off_the_process_does_not_stop_and_says_so() -> None:
    told: list[str] = []
    with capture_logs() as logs:
        asyncio.run(job_control(told, Devices(told, on=["asic:A"])).suspend())
    assert told == ["hold stopped", "rested", "release stopped"]
    assert [(entry["event"], entry["devices"]) for entry in logs] == [("not_stopped", ["asic:A"])]


def test_a_run_that_begins_to_finish_meanwhile_is_not_stopped() -> None:
    told: list[str] = []
    devices = Devices(told)
    devices.meanwhile = lambda: setattr(devices, "finishing", True)
    asyncio.run(job_control(told, devices).suspend())
    assert told == ["hold stopped", "rested", "release stopped"]


def test_a_continue_that_comes_before_the_stop_calls_it_off_and_the_next_stop_works() -> None:
    told: list[str] = []
    devices = Devices(told)
    control = job_control(told, devices)
    devices.meanwhile = control.go_on
    asyncio.run(control.suspend())
    assert told == ["hold stopped", "rested", "release stopped"]
    devices.meanwhile = lambda: None
    asyncio.run(control.suspend())
    assert "process stopped" in told


def test_a_second_ctrl_z_while_the_first_is_under_way_adds_nothing() -> None:
    told: list[str] = []
    control = job_control(told, Devices(told))

    async def twice() -> None:
        await asyncio.gather(control.suspend(), control.suspend())

    asyncio.run(twice())
    assert told.count("hold stopped") == told.count("process stopped") == 1
