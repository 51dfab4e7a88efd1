from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from miner.books.state_dir import (
    Lock,
    StateDir,
    StateError,
    Taken,
    Unwritable,
    locate,
)


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
