"""The miner on a real kernel, usbfs and libusb, with a virtual board behind USB/IP for each bridge: one boot."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.asic.virtual import VirtualBus, parse_order
from backends.asic.virtual.chips.search import Engine
from backends.asic.virtual.usbip_export import Exports
from backends.kernels import KernelCache
from tests.real.cache import UnavailableError
from tests.real.usb_vm import run_in_guest
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Terms

SCRIPT = Path(__file__).with_name("asic_guest.py")
KINDS = {"compac-f": "F", "bitaxe-gamma": "B", "compac-a1": "A"}
SCALE = 2.0**-20
DRIVERS = ["ftdi_sio", *["cdc_acm"] * 4, "cp210x", "cp210x"]
DIFFICULTY = SCALE * 32  # some ten shares a second of them all: one costs the emulated processor ten milliseconds
GATEWAY = "10.0.2.2"  # this machine, as the guest sees it

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def seen(cache: KernelCache) -> dict[str, Any]:
    """What the guest saw, what the pool judged, and how the boards were left."""
    engine = Engine(cache)
    assert engine.rate_hps > 0, "compiled before any board is expected to find something"
    bus = VirtualBus(
        [parse_order(f"{kind},serial={serial}") for kind, serial in KINDS.items()], scale=SCALE, search=engine
    )
    boards = [bus.board(identity.path) for identity in bus.scan()]
    exports = Exports(boards, "127.0.0.1", 0)
    try:
        with VirtualPool(Terms(difficulty=DIFFICULTY, every_s=5.0, clean_every=1 << 30)) as pool:
            where = f"stratum+tcp://{GATEWAY}:{pool.port}"
            command = [sys.executable, str(SCRIPT), str(exports.address[1]), where, str(SCALE), str(len(boards))]
            outcome = run_in_guest(command, timeout_s=540, memory_mb=1536)
            accounts = {serial: pool.account(f"account.asic-{serial}") for serial in KINDS.values()}
            violations = pool.violations()
        powered = {serial: board.chain._powered for serial, board in zip(KINDS.values(), boards, strict=True)}
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        exports.close()
        bus.close()
    lines = [line for line in outcome.output.splitlines() if line.startswith("{")]
    assert outcome.status == 0 and lines, outcome.output
    facts: dict[str, Any] = json.loads(lines[-1])
    return facts | {"accounts": accounts, "violations": violations, "powered": powered, "seconds": outcome.seconds}


def test_every_board_mines_shares_through_libusb(seen: dict[str, Any]) -> None:
    assert seen["mining"], seen["log"]
    assert seen["found"], seen["log"]
    assert seen["status"] == 0, seen["log"]
    for serial, account in seen["accounts"].items():
        assert account.accepted > 0, (serial, seen["log"])
        assert not account.rejected
    assert not seen["violations"]


def test_the_kernels_drivers_were_there_before_and_are_again(seen: dict[str, Any]) -> None:
    assert seen["before"] == DRIVERS
    assert seen["during"] == ["usbfs"]
    assert seen["after"] == DRIVERS


def test_a_killed_miner_leaves_its_boards_in_reset(seen: dict[str, Any]) -> None:
    assert seen["mining_again"], seen["killed_log"]
    assert seen["guarded"], seen["killed_log"]
    assert not any(seen["powered"].values()), seen["powered"]
