"""A miner that is stopped while its boards have power, on a real kernel: its guard, the boards and the next start."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from backends.asic.virtual import VirtualBus, parse_order
from backends.asic.virtual.chips.search import Engine
from backends.asic.virtual.usbip_export import Exports
from backends.kernels import KernelCache
from tests.real.cache import UnavailableError
from tests.real.test_asic_miner import GATEWAY, KINDS
from tests.real.usb_vm import run_in_guest
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Terms

SCRIPT = Path(__file__).with_name("stop_guest.py")
SCALE = 2.0**-22  # what the boards compute is no matter here: it leaves the processor to the guest
OFF_S = 15.0  # from the stop until every board is off


class Stopwatch:
    """Measures on this machine how long boards have power after something connects to `port`."""

    def __init__(self, boards: Sequence[Any]) -> None:
        self.off_s: float | None = None
        self._boards = boards
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(600.0)
        self.port: int = self._server.getsockname()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._measure)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        with socket.socket() as end:  # the wait for a connection ends, if none came
            end.connect_ex(("127.0.0.1", self.port))
        self._thread.join()
        self._server.close()

    def _measure(self) -> None:
        with suppress(TimeoutError):
            self._server.accept()[0].close()
            began = time.monotonic()
            while not self._over.wait(0.02):
                if not any(board.chain._powered for board in self._boards):
                    self.off_s = time.monotonic() - began
                    return


pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def seen(cache: KernelCache) -> dict[str, Any]:
    """What the guest saw, and how the boards were left."""
    engine = Engine(cache)
    assert engine.rate_hps > 0, "compiled before any board is expected to find something"
    bus = VirtualBus(
        [parse_order(f"{kind},serial={serial}") for kind, serial in KINDS.items()], scale=SCALE, search=engine
    )
    boards = [bus.board(identity.path) for identity in bus.scan()]
    exports, stopwatch = Exports(boards, "127.0.0.1", 0), Stopwatch(boards)
    try:
        with VirtualPool(Terms(difficulty=SCALE * 32, every_s=5.0, clean_every=1 << 30)) as pool:
            where = f"stratum+tcp://{GATEWAY}:{pool.port}"
            command = [sys.executable, str(SCRIPT), str(exports.address[1]), where, str(SCALE), str(len(boards))]
            outcome = run_in_guest([*command, str(stopwatch.port)], timeout_s=540, memory_mb=1536)
        powered = {serial: board.chain._powered for serial, board in zip(KINDS.values(), boards, strict=True)}
    except UnavailableError as error:
        pytest.skip(str(error))
    finally:
        stopwatch.close()
        exports.close()
        bus.close()
    lines = [line for line in outcome.output.splitlines() if line.startswith("{")]
    assert outcome.status == 0 and lines, outcome.output
    facts: dict[str, Any] = json.loads(lines[-1])
    sys.stderr.write(f"boards off {stopwatch.off_s} s after the stop, guest {outcome.seconds:.0f} s\n")
    return facts | {"powered": powered, "off_s": stopwatch.off_s}


def test_a_stopped_miner_is_killed_and_all_its_boards_are_off_within_15_seconds(seen: dict[str, Any]) -> None:
    assert seen["mining"] and seen["guarded"], (seen["off_s"], seen["log"])
    assert seen["off"], seen["log"]
    assert seen["status"] == -9, seen["log"]
    assert not any(seen["powered"].values()), seen["powered"]
    assert seen["off_s"] is not None and seen["off_s"] <= OFF_S, (seen["off_s"], seen["log"])


def test_the_third_time_latches_each_board_and_the_next_start_is_left_a_notice(seen: dict[str, Any]) -> None:
    assert set(seen["latched"]) == set(KINDS.values())
    for reason in seen["latched"].values():
        assert "no sign of life" in str(reason) and "3 times" in str(reason), seen["log"]
    assert sorted(seen["noticed"]) == [f"asic:{serial}" for serial in sorted(KINDS.values())]
