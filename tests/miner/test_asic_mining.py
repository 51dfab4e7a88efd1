"""The command with USB miners that are emulated down to their control transfers, on a pool that judges every share."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from backends import asic
from backends.asic import backend as asic_backend
from backends.asic import virtual
from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.real import RealBus
from backends.asic.virtual import Fault, VirtualBus
from backends.asic.virtual.chips.search import Engine
from miner import state_dir
from miner.arguments import parse
from miner.cli import main
from miner.config import load
from miner.mine import mine
from miner.state_dir import Lock
from tests.backends.asic.usb.sysfs_tree import Machine
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
    six: VirtualBus, tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    boards = {number: six.board(f"virtual-{number}") for number in range(1, 7)}
    said = tmp_path / "summary.json"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "kernels").symlink_to(state / "kernels")

    def direct() -> None:
        until(lambda: all(board.chain.jobs for board in boards.values()), "not all of them began")
        six.unplug("virtual-1")
        boards[5].faults.set(Fault.HOT, 120.0)
        boards[6].faults.set(Fault.LYING)
        until(lambda: not boards[5].chain._powered, "the hot one is on")
        until(lambda: "device_gone" in capfd_text(capfd, seen), "nobody tells of the unplugged one")
        six.replug("virtual-1")
        before = boards[1].chain.jobs
        until(lambda: boards[1].chain.jobs > before, "the replugged one does not mine")
        until(lambda: "device_disabled" in capfd_text(capfd, seen), "the liar still mines")
        until(lambda: all(boards[number].chain.busy for number in (2, 3, 4)), "the sound ones do not mine on")

    seen: list[str] = []
    with VirtualPool(EASY) as pool:
        argv = ["--backend", "asic", "--virtual", "compac-f", "--pool", pool.url, "--user", USER]
        arguments = parse([*argv, "--summary", str(said), "--log-format", "json"])
        environ = {"HOME": str(tmp_path), "MINER_STATE_DIR": str(tmp_path / "state")}
        director = Director(direct)
        director.start()
        status = mine(arguments, load(arguments.flags, environ, tmp_path))
        director.join()
        account = pool.account(USER)
        assert not pool.violations()
    log = capfd_text(capfd, seen)
    assert director.error is None, (director.error, log)
    assert status == 0
    assert account.accepted > 100
    assert not account.rejected
    devices = {device["id"]: device for device in summary_of(said)["devices"]}
    assert len(devices) == 6
    assert all(devices[f"asic:{serial}"]["hashes"] > 0 for serial in ("f1", "a1", "11", "f2"))
    wrong = {name: device["hardware_errors"] for name, device in devices.items()}
    assert wrong.pop("asic:12") >= 10
    assert not any(wrong.values()), wrong
    assert "120 degrees" in log
    assert "results were wrong" in log or "hits were wrong" in log
    assert not any(board.chain._powered for board in boards.values()), "all of them end in reset"


def capfd_text(capfd: pytest.CaptureFixture[str], seen: list[str]) -> str:
    """All that was logged so far."""
    seen.append("".join(capfd.readouterr()))
    return "".join(seen)


def test_a_bridge_that_names_no_miner_is_listed_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "machine")
    strings = ("Silicon Labs", "CP2102 USB to UART Bridge Controller", "0001")
    machine.plug(UsbIdentity("1-1", 0x10C4, 0xEA60, 0x100, *strings, (UsbInterface(0, 0xFF),)), driver="cp210x")
    monkeypatch.setattr(asic_backend, "RealBus", lambda: RealBus(machine.roots))
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "machine").rglob("*")}
    assert main(["devices", "--backend", "asic", "--json"]) == 0
    [row] = json.loads(capsys.readouterr().out)["devices"]
    assert (row["id"], row["would_mine"]) == ("usb:0001", False)
    assert main(["--backend", "asic", "--pool", "synthetic:"]) == 1
    assert "not recognised as a miner, and left alone" in "".join(capsys.readouterr())
    assert main(["off", "--backend", "asic"]) == 0
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "machine").rglob("*")} == before


def test_without_any_board_it_ends_with_1_and_says_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "machine")
    monkeypatch.setattr(asic_backend, "RealBus", lambda: RealBus(machine.roots))
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    assert main(["--backend", "asic"]) == 1
    said = "".join(capsys.readouterr())
    assert "no USB miner is plugged in" in said and "--virtual compac-f" in said
    assert main(["devices", "--backend", "asic"]) == 1
    assert "no USB miner is plugged in" in "".join(capsys.readouterr())
    assert asic.AsicBackend.absent in said


def test_the_kinds_of_virtual_boards_are_listed_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--virtual", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(kind in listed for kind in KINDS) and "unplug" in listed


class SeeminglyReal(VirtualBus):
    """Virtual boards that do not say so: locked, guarded, and refused without consent as real ones are."""

    def scan(self) -> list[UsbIdentity]:
        return [replace(identity, virtual=False) for identity in super().scan()]


class Recorder:
    """In the place of the guard."""

    told: list[str]

    def __init__(self, flags: list[str]) -> None:
        self.told.append(" ".join(flags))

    def on(self, device: str) -> None:
        self.told.append(f"+{device}")

    def off(self, device: str) -> None:
        self.told.append(f"-{device}")

    def close(self) -> None:
        self.told.append("closed")


def test_a_real_board_is_locked_and_guarded_from_before_it_is_on_until_it_is_off(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = SeeminglyReal(["compac-a1,serial=A"], scale=2.0**-20, search=engine)
    chain, powered = bus.board("virtual-1").chain, []
    monkeypatch.setattr(asic_backend, "RealBus", lambda: bus)
    monkeypatch.setattr(state_dir, "_RUN_LOCK", tmp_path)
    monkeypatch.setattr("miner.mine.Guard", Recorder)
    told = Recorder.told = []
    on, off = Recorder.on, Recorder.off
    monkeypatch.setattr(Recorder, "on", lambda self, device: (powered.append(chain._powered), on(self, device)))
    monkeypatch.setattr(Recorder, "off", lambda self, device: (powered.append(chain._powered), off(self, device)))

    def mined(*more: str) -> int:
        arguments = parse(["--backend", "asic", "--pool", "synthetic:", *more])
        environ = {
            "HOME": str(tmp_path),
            "MINER_STATE_DIR": str(tmp_path / "state"),
            "MINER_BACKENDS_ASIC_ALLOW_UNPROVEN": "true",
        }
        return mine(arguments, load(arguments.flags, environ, tmp_path))

    try:
        assert mined("--seconds", "1") == 0
        assert told == [f"--state-dir={tmp_path / 'state'}", "+asic:A", "-asic:A", "closed"]
        assert powered == [False, False]
        with Lock(tmp_path / "angara-asic-A.lock"):
            assert mined() == 1, "another miner drives it"
        assert len(told) == 4
    finally:
        bus.close()
