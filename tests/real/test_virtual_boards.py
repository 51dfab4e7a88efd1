"""Emulated USB miners in real time, on a pool that judges every share: each kind by itself, and six with faults."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from backends.asic import virtual
from backends.asic.virtual import Fault, VirtualBus
from backends.asic.virtual.chips.search import Engine
from miner.commands.arguments import parse
from miner.commands.mine import mine
from miner.config import load
from tests.running import home, summary_of
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Terms

EASY = Terms(difficulty=2**-22, every_s=1.0, clean_every=1 << 30)  # each result of a virtual board is a share
USER = "account.worker"
KINDS = ("compac-f", "bitaxe-gamma", "compac-a1")


def test_each_kind_of_board_mines_fifty_shares_and_ends_well(tmp_path: Path, kernels: Path) -> None:
    with ExitStack() as held:
        runs = []
        for kind in KINDS:
            operator = held.enter_context(home(tmp_path / kind, kernels))
            pool = held.enter_context(VirtualPool(EASY))
            said = tmp_path / kind / "summary.json"
            words = ("--backend", "asic", "--virtual", kind, "--pool", pool.url, "--user", USER, "--shares", "50")
            runs.append((operator.start(*words, "--summary", str(said)), pool, said))
        for miner, pool, said in runs:
            assert miner.ended() == 0, miner.output()
            account, summary = pool.account(USER), summary_of(said)
            assert summary["shares"]["accepted"] == account.accepted >= 50
            assert not account.rejected
            assert not pool.violations()
            [device] = summary["devices"]
            assert device["virtual"] is True
            assert device["hashes"] > 0


@pytest.fixture
def six(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Iterator[VirtualBus]:
    """Six boards on a bus that the test holds, whatever --virtual orders."""
    orders = [f"{kind},serial={kind[-1]}{number}" for number in (1, 2) for kind in KINDS]
    bus = VirtualBus(orders, scale=2.0**-21, search=engine)
    monkeypatch.setattr(virtual, "VirtualBus", lambda *_a, **_k: bus)
    yield bus
    bus.close()


class Director(threading.Thread):
    """Acts on the boards while the miner mines in the main thread."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._act()
        except BaseException as error:  # noqa: BLE001  the main thread raises it
            self.error = error
        os.kill(os.getpid(), 2)  # Ctrl-C


def until(happened: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + 40
    while not happened():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def test_six_at_once_one_replugged_one_too_hot_one_lying(
    six: VirtualBus, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = {number: six.board(f"virtual-{number}") for number in range(1, 7)}
    said, log = tmp_path / "summary.json", tmp_path / "log"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "kernels").symlink_to(state / "kernels")

    def direct() -> None:
        until(lambda: all(board.chain.jobs for board in boards.values()), "not all of them began")
        six.unplug("virtual-1")
        boards[5].faults.set(Fault.HOT, 120.0)
        boards[6].faults.set(Fault.LYING)
        until(lambda: not boards[5].chain._powered, "the hot one is on")
        until(lambda: "device_gone" in log.read_text(), "nobody tells of the unplugged one")
        six.replug("virtual-1")
        before = boards[1].chain.jobs
        until(lambda: boards[1].chain.jobs > before, "the replugged one does not mine")
        until(lambda: "device_disabled" in log.read_text(), "the liar still mines")
        until(lambda: all(boards[number].chain.busy for number in (2, 3, 4)), "the sound ones do not mine on")

    with VirtualPool(EASY) as pool, log.open("w", buffering=1) as logged:
        monkeypatch.setattr(sys, "stderr", logged)
        argv = ["--backend", "asic", "--virtual", "compac-f", "--pool", pool.url, "--user", USER]
        arguments = parse([*argv, "--summary", str(said), "--log-format", "json"])
        environ = {"HOME": str(tmp_path), "MINER_STATE_DIR": str(tmp_path / "state")}
        director = Director(direct)
        director.start()
        status = mine(arguments, load(arguments.flags, environ, tmp_path))
        director.join()
        account = pool.account(USER)
        assert not pool.violations()
    assert director.error is None, (director.error, log.read_text())
    assert status == 0
    assert account.accepted > 100
    assert not account.rejected
    devices = {device["id"]: device for device in summary_of(said)["devices"]}
    assert len(devices) == 6
    assert all(devices[f"asic:{serial}"]["hashes"] > 0 for serial in ("f1", "a1", "11", "f2"))
    wrong = {name: device["hardware_errors"] for name, device in devices.items()}
    assert wrong.pop("asic:12") >= 10
    assert not any(wrong.values()), wrong
    told = log.read_text()
    assert "120 degrees" in told
    assert "results were wrong" in told or "hits were wrong" in told
    assert not any(board.chain._powered for board in boards.values()), "all of them end in reset"
