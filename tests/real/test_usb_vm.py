"""Virtual boards in front of a real kernel, real libusb and real pyusb: one boot for all of them."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real.cache import UnavailableError
from tests.real.usb_vm import run_in_guest, served

SCRIPT = Path(__file__).with_name("usb_vm_guest.py")
KINDS = ("compac-f", "bitaxe-gamma", "compac-a1")


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    """What the guest saw of each board."""
    with served(*KINDS) as port:
        try:
            outcome = run_in_guest([sys.executable, str(SCRIPT), str(port), *KINDS], timeout_s=150)
        except UnavailableError as error:
            pytest.skip(str(error))
    assert outcome.status == 0, outcome.output
    facts = [json.loads(line) for line in outcome.output.splitlines() if line.startswith("{")]
    return {fact["kind"]: fact for fact in facts}


@pytest.mark.parametrize(
    ("kind", "strings", "drivers"),
    [
        ("compac-f", ["GekkoScience", "CompacF Bitcoin Miner"], ["ftdi_sio"]),
        ("bitaxe-gamma", ["OSMU", "Bitaxe"], ["cdc_acm"] * 4),
        ("compac-a1", ["Silicon Labs", "GekkoScience Compac A1"], ["cp210x"] * 2),
    ],
)
def test_the_kernels_own_driver_binds_lets_go_and_binds_again(
    seen: dict[str, dict[str, Any]], kind: str, strings: list[str], drivers: list[str]
) -> None:
    fact = seen[kind]
    assert fact["strings"][:2] == strings
    assert fact["before"] == drivers
    assert fact["claim_while_bound"] == errno.EBUSY
    assert fact["detached"] == [] or set(fact["detached"]) == {"usbfs"}
    assert fact["after"] == drivers


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("compac-f", "aa5513971800000006"),
        ("bitaxe-gamma", "aa551370000000000010"[:16]),
        ("compac-a1", "aa551362030000000d30"),
    ],
)
def test_its_chips_answer_through_libusb(seen: dict[str, dict[str, Any]], kind: str, answer: str) -> None:
    assert seen[kind]["answer"].startswith(answer)


def test_silence_times_out_and_what_nobody_knows_is_a_stall(seen: dict[str, dict[str, Any]]) -> None:
    assert {kind: fact["silence"] for kind, fact in seen.items()} == {
        "compac-f": "status only",  # an FTDI chip is never silent
        "bitaxe-gamma": "time-out",
        "compac-a1": "time-out",
    }
    assert {fact["unknown_request"] for fact in seen.values()} == {errno.EPIPE}
