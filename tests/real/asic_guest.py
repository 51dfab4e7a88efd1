"""Runs in the guest: the whole miner on a real kernel and libusb, first to its orderly end, then killed. Prints JSON.

    asic_guest.py PORT POOL SCALE BOARDS

The boards search at a scale that the miner is told, for a CPU finds no share of difficulty one in time. All else is the
miner as it is.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import miner.commands.cli
from backends.asic import backend as asic_backend
from backends.asic.usb.bus import UsbIdentity
from backends.asic.usb.real import RealBus
from tests.real.usb_vm_guest import attach, until

ROOT = Path(__file__).resolve().parents[2]
LOG = Path.home() / "miner.log"  # of the guest: the only folder in it that can be written, in its own memory
SHARES = Path.home() / "shares.json"
STATE = Path.home() / "state"
PATIENCE_S = 200.0  # in the emulator, the miner starts in half a minute; beside other programs in several minutes


class ScaledBus(RealBus):
    """The machine's ports, with boards that do a part of real boards' hashes."""

    factor = 1.0

    def scale(self, identity: UsbIdentity) -> float:
        return self.factor


def start(pool: str) -> int:
    """The miner in a process of its own, forked: importing it once more takes half a minute here; its pid."""
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    if pid := os.fork():
        os.close(log)
        return pid
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.register(signal.SIGUSR1)
    os.environ |= {"MINER_BACKENDS_ASIC_ALLOW_UNPROVEN": "true", "PYTHONPATH": str(ROOT)}
    asic_backend.RealBus = ScaledBus  # type: ignore[misc]
    words = ["--backend", "asic", "--pool", pool, "--user", "account.{device}"]
    words += ["--state-dir", str(STATE), "--share-log", str(SHARES)]
    os._exit(miner.commands.cli.main(words))


def status_of(pid: int) -> int | None:
    """How it ended; None, and what its threads were at is in the log, if it does not."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(pid, signal.SIGUSR1)
    time.sleep(1.0)
    os.kill(pid, signal.SIGKILL)  # which is not waited for: it may hang in the kernel
    return None


def drivers(bus: RealBus) -> list[str | None]:
    return [interface.driver for found in bus.scan() for interface in found.interfaces]


def all_mine(bus: RealBus) -> bool:
    """Whether every board came to mine."""
    return all(seen(f"device=asic:{found.serial} state=mining") for found in bus.scan())


def all_found(bus: RealBus) -> bool:
    """Whether every board came to an accepted share."""

    def found_by(device: str) -> bool:
        lines = map(json.loads, SHARES.read_text().splitlines())
        return any(line["device"] == device and line["verdict"] == "accepted" for line in lines)

    return all(comes(lambda device=f"asic:{found.serial}": found_by(device)) for found in bus.scan())


def told() -> str:
    """What the miner said but for its shares."""
    return "\n".join(line for line in LOG.read_text().splitlines() if "share_accepted" not in line)[-6000:]


def seen(text: str, times: int = 1) -> bool:
    """Whether the miner comes to say so."""
    return comes(lambda: LOG.read_text().count(text) >= times)


def comes(true: Callable[[], bool]) -> bool:
    """Whether it is, in time."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def main() -> None:
    port, pool, ScaledBus.factor, boards = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
    bus = RealBus()
    for place in range(1, boards + 1):
        attach(port, place)
    until(lambda: len(drivers(bus)) == 7 and all(drivers(bus)))
    facts: dict[str, object] = {"before": drivers(bus)}
    orderly = start(pool)
    facts["mining"] = all_mine(bus)
    facts["found"] = all_found(bus)
    comes(lambda: set(drivers(bus)) == {"usbfs"})  # a board may just be starting again
    facts["during"] = sorted({str(driver) for driver in drivers(bus)})
    os.kill(orderly, signal.SIGINT)
    facts["status"] = status_of(orderly)
    facts["log"] = told()
    facts["after"] = drivers(bus)
    killed = start(pool)
    facts["mining_again"] = all_mine(bus)
    os.kill(killed, signal.SIGKILL)
    os.waitpid(killed, 0)
    facts["guarded"] = seen("): off", boards)
    facts["killed_log"] = told()
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
