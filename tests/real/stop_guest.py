"""Runs in the guest: a miner that is stopped while its boards mine, once. Prints JSON.

    stop_guest.py PORT POOL SCALE BOARDS STOPPED

STOPPED is a port of the gateway: a connection to it says that the miner was stopped just now. By its record, each board
was cut off twice before, so that this time latches it. The record is written while the miner is stopped, and replaces
any cut-off of the start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backends.asic.latch import Latches
from backends.asic.usb.real import RealBus
from miner.rig import guard_notice
from tests.real.asic_guest import LOG, STATE, ScaledBus, comes, drivers, seen, start, status_of, told
from tests.real.usb_vm_guest import GATEWAY, attach, until

EARLIER_S = (1200.0, 600.0)


def mine_at_once(serials: Sequence[str]) -> bool:
    """Whether every board mines now, by the last word of its miner."""
    said = LOG.read_text()
    states = (said.rpartition(f"device_state device=asic:{serial} state=")[2] for serial in serials)
    return all(state.startswith("mining") for state in states)


def cut_off_before(serial: str) -> None:
    (STATE / "asic" / f"{serial}.json").unlink(missing_ok=True)
    for age_s in EARLIER_S:
        Latches(STATE, lambda age_s=age_s: time.time() - age_s).trip(serial)


def main() -> None:
    port, pool, ScaledBus.factor, boards = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    bus = RealBus()
    for place in range(1, boards + 1):
        attach(port, place)
    until(lambda: len(drivers(bus)) == 7 and all(drivers(bus)))
    serials = [found.serial or "" for found in bus.scan()]
    STATE.mkdir()
    miner = start(pool)
    facts: dict[str, object] = {"guarded": seen("guard_ready"), "mining": comes(lambda: mine_at_once(serials))}
    os.kill(miner, signal.SIGSTOP)
    socket.create_connection((GATEWAY, int(sys.argv[5]))).close()
    for serial in serials:
        cut_off_before(serial)
    facts["off"] = seen("): off", boards)
    facts["status"] = status_of(miner)
    facts["log"] = told()
    facts["latched"] = {serial: Latches(STATE).record(serial).latched for serial in serials}
    facts["noticed"] = [notice.device for notice in guard_notice.take(STATE)]
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
