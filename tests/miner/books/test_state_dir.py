from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from backends.base import DeviceInfo, Kind
from miner.books.state_dir import (
    Lock,
    StateDir,
    StateError,
    Taken,
    Unwritable,
    holder,
    locate,
    lock_device,
    lock_folders,
)

STICK = DeviceInfo("asic:GSF/1", "asic", Kind.ASIC, "Compac F")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"STATE_DIRECTORY": "/var/lib/angara:/var/lib/b", "XDG_STATE_HOME": "/x"}, "/var/lib/angara"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/angara"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/angara"),
    ],
)
def test_the_folder_is_where_the_system_s_conventions_put_it(environ: dict[str, str], folder: str) -> None:
    assert locate(None, environ) == Path(folder)
    assert locate(Path("/mine"), environ) == Path("/mine")


def test_without_a_home_a_folder_must_be_named() -> None:
    with pytest.raises(StateError, match="--state-dir"):
        locate(None, {})


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with StateDir.open(tmp_path / "a" / "state") as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((state.path / "lock").stat().st_mode) == 0o600


def test_a_second_miner_is_told_who_holds_the_folder_and_may_have_it_afterwards(tmp_path: Path) -> None:
    with StateDir.open(tmp_path), pytest.raises(Taken, match=rf"in use by the miner with pid {os.getpid()}; .*--state"):
        StateDir.open(tmp_path)
    StateDir.open(tmp_path).close()


def test_a_holder_in_another_process_is_seen_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from miner.books.state_dir import StateDir\n"
        "held = StateDir.open(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Taken, match=f"pid {holder.pid};"):
            StateDir.open(tmp_path)
        holder.kill()
        holder.wait()
        StateDir.open(tmp_path).close()


@pytest.mark.parametrize("content", [b"", b"rm -rf\n", b"\x1b[2J", b"9" * 100])
def test_a_lock_file_without_a_pid_is_not_repeated(tmp_path: Path, content: bytes) -> None:
    with Lock(tmp_path / "lock"):
        (tmp_path / "lock").write_bytes(content)
        with pytest.raises(Taken, match=r"^in use by another miner$"):
            Lock(tmp_path / "lock")


def test_a_folder_that_everybody_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StateError, match="everybody could put code"):
        StateDir.open(tmp_path)


def test_a_file_in_the_way_is_told_from_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StateError, match="a file is in the way"):
            StateDir.open(path)
    with pytest.raises(Unwritable, match="make it writable or give --state-dir"):
        StateDir.open(Path("/proc/angara"))  # not even root can


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(Unwritable):
        StateDir.open(tmp_path)
    assert (tmp_path / "precious").read_text() == "keep"


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
