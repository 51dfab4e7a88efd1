from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from miner.sources.scratch import scratch_folder

KILLED = """
import os, signal, tempfile
tempfile.tempdir = {folder!r}
from miner.sources.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "blocks").mkdir()
    (folder / "blocks" / "data").write_bytes(b"x" * 1000)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_it_is_gone_at_the_end_with_all_that_is_in_it(place: Path) -> None:
    with scratch_folder() as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "file").touch()
        (folder / "file").touch()
        assert folder.parent == place
    assert not list(place.iterdir())


def test_what_a_killed_process_left_is_removed_at_the_next_start(place: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED.format(folder=str(place))], check=False)
    (left,) = place.iterdir()
    assert (left / "blocks" / "data").exists()
    with scratch_folder() as folder:
        assert list(place.iterdir()) == [folder]


def test_what_is_in_use_or_not_ours_stays(place: Path) -> None:
    (place / "angara-chain-begun").mkdir()  # not locked yet
    (place / "angara-chain-file").touch()
    (place / "elsewhere").mkdir()
    (place / "angara-chain-link").symlink_to(place / "elsewhere")
    with scratch_folder() as first:
        with scratch_folder() as second:
            assert first.is_dir()
            assert second.is_dir()
        assert first.is_dir()
    assert {path.name for path in place.iterdir()} == {
        "angara-chain-begun",
        "angara-chain-file",
        "angara-chain-link",
        "elsewhere",
    }
