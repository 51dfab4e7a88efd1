"""The miner's USB stack on a real kernel, usbfs and libusb, with virtual boards behind USB/IP: one boot for all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.cache import UnavailableError
from tests.real.usb_vm import run_in_guest, served

SCRIPT = Path(__file__).with_name("usb_stack_guest.py")


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    with served("compac-f", "bitaxe-gamma", "compac-a1") as port:
        try:
            outcome = run_in_guest([sys.executable, str(SCRIPT), str(port)], timeout_s=110)
        except UnavailableError as error:
            pytest.skip(str(error))
    assert outcome.status == 0, outcome.output
    (line,) = (line for line in outcome.output.splitlines() if line.startswith("{"))
    facts: dict[str, Any] = json.loads(line)
    return facts


def test_a_scan_knows_every_board_and_nothing_against_them(seen: dict[str, Any]) -> None:
    assert seen["scan"] == [
        ["1-1", "GekkoScience", "CompacF Bitcoin Miner", None],
        ["1-2", "OSMU", "Bitaxe", None],
        ["1-3", "Silicon Labs", "GekkoScience Compac A1", None],
    ]


def test_plugging_in_was_noticed(seen: dict[str, Any]) -> None:
    assert seen["noticed"]


@pytest.mark.parametrize(
    ("board", "driver", "interfaces"),
    [("compac_f", "ftdi_sio", 1), ("gamma", "cdc_acm", 4), ("compac_a1", "cp210x", 2)],
)
def test_the_kernels_driver_steps_aside_and_comes_back(
    seen: dict[str, Any], board: str, driver: str, interfaces: int
) -> None:
    assert seen[board]["claimed"] == ["usbfs"] * interfaces
    assert seen[board]["after"] == [driver] * interfaces


def test_the_boards_answer_through_every_bridge(seen: dict[str, Any]) -> None:
    assert seen["compac_f"]["chip"] == "aa5513971800000006"
    assert seen["gamma"]["answer"] == "01000101"
    assert seen["compac_a1"]["chip"] == "aa551362030000000d"
    assert seen["compac_a1"]["version"] == "0"


def test_an_idle_ftdi_chip_is_silence_for_as_long_as_was_asked(seen: dict[str, Any]) -> None:
    data, seconds = seen["compac_f"]["silence"]
    assert data == ""
    assert 0.5 <= seconds < 1.5


def test_a_port_reset_keeps_the_claim(seen: dict[str, Any]) -> None:
    assert seen["compac_f"]["chip_after_port_reset"] == "aa5513971800000006"


def test_what_this_process_holds_is_no_obstacle_to_it(seen: dict[str, Any]) -> None:
    assert seen["compac_f"]["obstacle_of_ours"] is None


def test_a_second_program_is_refused_and_disturbs_nothing(seen: dict[str, Any]) -> None:
    obstacle, error = seen["compac_f"]["second_program"]
    assert "in use by python" in obstacle
    assert error.startswith("Taken: ")
    assert seen["compac_f"]["chip_after_second_program"] == "aa5513971800000006"


def test_a_user_without_rights_is_told_the_rule_without_and_with_an_attempt(seen: dict[str, Any]) -> None:
    obstacle, error = seen["nobody"]
    assert "no permission" in obstacle
    assert error.startswith("NotPermitted: no permission")
    assert 'ATTR{product}=="CompacF Bitcoin Miner"' in error


def test_a_terminal_in_use_is_left_to_its_program(seen: dict[str, Any]) -> None:
    assert seen["terminal"].startswith("Taken: ")
    assert "in use by sleep" in seen["terminal"]
    assert seen["terminal_driver"] == ["ftdi_sio"]


def test_an_unplug_in_the_middle_of_a_read_ends_it_and_a_replug_goes_on(seen: dict[str, Any]) -> None:
    fact = seen["unplugged"]
    assert fact["error"].startswith("DeviceGone: ")
    assert fact["read_s"] < 3.0
    assert fact["while_away"].startswith("DeviceGone: ")
    assert fact["noticed"]
    assert fact["chip"] == "aa5513971800000006"
