from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.asic.usb import holder
from backends.asic.usb.holder import Holder, OneLook, holders, sentence
from tests.backends.asic.usb.sysfs_tree import Machine


def test_every_process_with_the_file_open_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    node = Path("/dev/bus/usb/001/002")
    machine.run(7, "cgminer", Path("/dev/null"), node)
    machine.run(9, "bash", Path("/dev/bus/usb/001/003"))
    machine.run(8, "ModemManager", node)
    assert holders([node], machine.roots.proc) == [Holder(7, "cgminer"), Holder(8, "ModemManager")]
    assert "cgminer (process 7), ModemManager (process 8)" in sentence([node], machine.roots.proc)


def test_one_look_answers_for_any_number_of_devices(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    ours, theirs, hidden = (Path(f"/dev/bus/usb/001/{number:03d}") for number in (2, 3, 4))
    machine.run(os.getpid(), "miner", ours)
    machine.run(7, "cgminer", theirs)
    look = OneLook(machine.roots.proc)
    assert look.obstacle(ours) is None
    assert "cgminer (process 7)" in (look.obstacle(theirs) or "")
    machine.run(8, "late", hidden)
    assert f"fuser -v {hidden}" in (look.obstacle(hidden) or "")


def test_a_program_cannot_write_its_name_into_a_terminal(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run(7, "\x1b[2J" + "x" * 100, node := Path("/dev/bus/usb/001/002"))
    (found,) = holders([node], machine.roots.proc)
    assert found.name.isprintable()
    assert len(found.name) <= 32


def test_a_machine_that_hides_its_processes_holds_nothing(tmp_path: Path) -> None:
    assert holders([Path("/dev/null")], tmp_path / "absent") == []


def test_nobody_is_looked_up_where_no_file_is_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "_pids", pytest.fail)
    assert holders([]) == []


def test_this_process_is_found_in_the_real_proc(tmp_path: Path) -> None:
    with (tmp_path / "node").open("w") as file:
        assert os.getpid() in [holder.pid for holder in holders([Path(file.name)])]
