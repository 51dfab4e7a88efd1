"""The command with USB miners: what it lists, what it leaves alone, and what it locks and guards."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from backends import asic
from backends.asic import backend as asic_backend
from backends.asic.latch import Latches
from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.real import RealBus
from backends.asic.virtual import VirtualBus
from backends.asic.virtual.chips.search import Engine
from backends.base import Supervised
from miner.books.state_dir import Lock
from miner.commands.arguments import parse
from miner.commands.cli import main
from miner.commands.mine import mine
from miner.config import load
from miner.rig import guard_notice, locks
from miner.rig.guard_notice import Notice
from tests.backends.asic.usb.sysfs_tree import Machine

KINDS = ("compac-f", "bitaxe-gamma", "compac-a1")


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


def test_a_board_that_rests_is_not_called_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "machine")
    monkeypatch.setattr(asic_backend, "RealBus", lambda: RealBus(machine.roots))
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    flags = ["--backend", "asic", "--virtual", "compac-a1,serial=A"]

    def said(command: str, *more: str) -> str:
        assert main([command, *flags, *more]) == 0
        return capsys.readouterr().out

    assert "ready" in said("devices")
    Latches(tmp_path).trip("A", "chip is at 111 degrees")
    assert "ready" not in said("devices")
    assert "rests: turned off for safety at 20" in said("devices") and "(chip is at 111 degrees)" in said("devices")
    [row] = json.loads(said("devices", "--json"))["devices"]
    assert (row["would_mine"], row["unusable"]) == (False, None)
    assert row["resting"]["until"] == row["resting"]["since"] + 60 and "it starts again at" in row["reason"]
    assert "device asic:A: would mine later: turned off for safety" in said("check", "--pool", "synthetic:")
    Latches(tmp_path).latch("A", "too often")
    assert "cannot mine: kept off for safety (too often)" in said("devices")
    assert main(["check", *flags, "--pool", "synthetic:"]) == 1, "and so does the check"
    assert "miner unlatch A" in capsys.readouterr().err
    assert main(["unlatch", "A"]) == 0
    capsys.readouterr()
    assert "ready" in said("devices")


class SeeminglyReal(VirtualBus):
    """Virtual boards that do not say so: locked, guarded, and refused without consent as real ones are."""

    def scan(self) -> list[UsbIdentity]:
        return [replace(identity, virtual=False) for identity in super().scan()]


def test_a_board_that_another_miner_drives_is_not_called_ready(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bus = SeeminglyReal(["compac-a1,serial=A"], scale=2.0**-20, search=engine)
    monkeypatch.setattr(asic_backend, "RealBus", lambda: bus)
    monkeypatch.setattr(locks, "_RUN_LOCK", tmp_path)
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("MINER_BACKENDS_ASIC_ALLOW_UNPROVEN", "true")
    monkeypatch.chdir(tmp_path)
    words = ["--backend", "asic", "--pool", "synthetic:"]
    try:
        with Lock(tmp_path / "angara-asic-A.lock"):
            assert main(["devices", *words, "--json"]) == 0
            [row] = json.loads(capsys.readouterr().out)["devices"]
            assert (row["would_mine"], row["reason"]) == (False, f"by the miner with pid {os.getpid()}")
            assert main(["devices", *words]) == main(["check", *words]) == 0
            shown = capsys.readouterr().out
            assert f"in use: by the miner with pid {os.getpid()}" in shown
            assert f"device asic:A: in use by the miner with pid {os.getpid()}" in shown
        assert main(["devices", *words]) == 0
        assert "ready" in capsys.readouterr().out
    finally:
        bus.close()


class Recorder:
    """In the place of the guard."""

    told: list[str]

    def __init__(self, flags: list[str]) -> None:
        self.told.append(" ".join(flags))

    def on(self, device: str) -> None:
        self.told.append(f"+{device}")

    def watch(self, device: str, supervised: Supervised) -> None:
        assert supervised.unwatched_s() is None, "before it is started"
        self.told.append(f"?{device}")

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
    monkeypatch.setattr(locks, "_RUN_LOCK", tmp_path)
    monkeypatch.setattr("miner.rig.rig.Guard", Recorder)
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
        assert told == [
            f"--state-dir={tmp_path / 'state'} --log-format=text --backend=asic",
            "+asic:A",
            "?asic:A",
            "-asic:A",
            "closed",
        ]
        assert powered == [False, False]
        with Lock(tmp_path / "angara-asic-A.lock"):
            assert mined() == 1, "another miner drives it"
        assert len(told) == 5
    finally:
        bus.close()


def test_what_a_guard_did_is_said_once_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(tmp_path / "machine")
    monkeypatch.setattr(asic_backend, "RealBus", lambda: RealBus(machine.roots))
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    guard_notice.add(tmp_path, [Notice("asic:A", "its miner was stopped", 1.8e9)])
    assert main(["--backend", "asic"]) == 1
    said = capsys.readouterr().err
    assert 'guard_had_turned_off device=asic:A reason="its miner was stopped" at=2027-01-15T08:00:00+00:00' in said
    assert main(["--backend", "asic"]) == 1
    assert "guard_had_turned_off" not in capsys.readouterr().err
