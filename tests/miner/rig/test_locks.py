from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backends.base import DeviceInfo, Kind
from miner.books.state_dir import Lock, StateError, Taken
from miner.rig.locks import holder, lock_device, lock_folders

STICK = DeviceInfo("asic:GSF/1", "asic", Kind.ASIC, "Compac F")


def test_a_real_gpu_or_asic_is_one_miner_s_whatever_their_state_folders(tmp_path: Path) -> None:
    folders = [tmp_path]
    lock = lock_device(STICK, folders)
    assert lock is not None
    with pytest.raises(Taken, match=rf"asic:GSF/1: in use by the miner with pid {os.getpid()}"):
        lock_device(STICK, folders)
    lock.close()
    again = lock_device(STICK, folders)
    assert again is not None
    again.close()
    assert stat.S_IMODE((tmp_path / "angara-asic-GSF-1.lock").stat().st_mode) == 0o666


@pytest.mark.parametrize(
    "shared",
    [
        DeviceInfo("cpu:0", "cpu", Kind.CPU, "a CPU"),
        DeviceInfo("asic:v", "asic", Kind.ASIC, "emulated", virtual=True),
    ],
    ids=["cpu", "virtual"],
)
def test_what_can_be_shared_is_not_locked(tmp_path: Path, shared: DeviceInfo) -> None:
    assert lock_device(shared, [tmp_path]) is None
    assert not list(tmp_path.iterdir())


def test_who_drives_a_device_is_told_without_locking_it(tmp_path: Path) -> None:
    board = DeviceInfo("asic:A", "asic", Kind.ASIC, "Stick")
    assert holder(board, [tmp_path]) is None
    lock = lock_device(board, [tmp_path / "none", tmp_path])
    assert lock is not None
    assert holder(board, [tmp_path / "none", tmp_path]) == f"the miner with pid {os.getpid()}"
    lock.close()
    assert holder(board, [tmp_path]) is None, "the file stays, the lock does not"
    with Lock(tmp_path / "angara-cpu-0.lock"):
        assert holder(DeviceInfo("cpu:0", "cpu", Kind.CPU, "CPU"), [tmp_path]) is None


def test_where_the_kernel_lists_no_locks_nobody_is_said_to_drive_a_device(tmp_path: Path) -> None:
    board = DeviceInfo("asic:A", "asic", Kind.ASIC, "Stick")
    lock = lock_device(board, [tmp_path])
    assert lock is not None
    (tmp_path / "locks").write_text("1: FLOCK\n")
    for listed in (tmp_path / "absent", tmp_path / "locks"):
        assert holder(board, [tmp_path], listed) is None
    lock.close()


def test_a_device_s_lock_lies_in_the_most_widely_shared_folder_there_is(tmp_path: Path) -> None:
    folders = lock_folders(tmp_path, {"XDG_RUNTIME_DIR": "/run/user/1"})
    assert folders == [Path("/run/lock"), Path("/run/user/1"), tmp_path / "locks"]
    lock = lock_device(STICK, [tmp_path / "missing", tmp_path / "locks"])
    assert lock is not None
    lock.close()
    assert (tmp_path / "locks" / "angara-asic-GSF-1.lock").exists()
    with pytest.raises(StateError, match="no folder for its lock"):
        lock_device(STICK, [tmp_path / "missing"])
