from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.hashes import sha256d
from miner.sources.consensus import Tip
from miner.sources.node import journal as module
from miner.sources.node.journal import KEPT, FoundBlock, Journal, JournalError
from tests.sources.forge import block_on


def found(height: int) -> FoundBlock:
    raw = block_on(Tip(bytes(32), height - 1, 1_700_000_000, 1_700_000_000))
    return FoundBlock(sha256d(raw[:80])[::-1].hex(), height, "regtest", 1_700_000_000.5 + height, raw)


BLOCKS = {height: found(height) for height in range(1, 6)}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_recorded_block_is_pending_in_another_process(tmp_path: Path) -> None:
    Journal(tmp_path / "blocks").record(BLOCKS[1])
    assert list(Journal(tmp_path / "blocks").pending()) == [BLOCKS[1]]


def test_pending_blocks_come_in_the_order_in_which_they_build_on_each_other(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for height in (3, 1, 5, 2):
        journal.record(BLOCKS[height])
    assert [block.height for block in journal.pending() if isinstance(block, FoundBlock)] == [1, 2, 3, 5]


def test_a_settled_block_is_pending_no_more_and_still_to_be_had(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for height in (1, 2, 3):
        journal.record(BLOCKS[height])
        journal.settle(BLOCKS[height])
    journal.record(BLOCKS[4])
    assert list(journal.pending()) == [BLOCKS[4]]
    assert list(journal.settled_from(2)) == [BLOCKS[2], BLOCKS[3]]


def test_settling_twice_or_what_was_never_written_is_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    for _ in range(2):
        journal.settle(BLOCKS[1])
    journal.settle(BLOCKS[2])
    assert list(journal.settled_from(0)) == [BLOCKS[1]]


def test_a_journal_that_never_wrote_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "nowhere")
    assert list(journal.pending()) == list(journal.settled_from(0)) == []
    journal.settle(BLOCKS[1])


def test_only_the_latest_settled_blocks_are_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(KEPT):
        (tmp_path / f"{100 + number:09d}-{'0' * 64}.settled").touch()
    journal.record(BLOCKS[5])
    journal.settle(BLOCKS[5])
    assert len(names(tmp_path)) == KEPT
    assert BLOCKS[5].hash not in "".join(names(tmp_path))  # the lowest goes first


def test_files_are_the_operators_alone(tmp_path: Path) -> None:
    folder = tmp_path / "blocks"
    Journal(folder).record(BLOCKS[1])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


class PowerCut(BaseException):
    """Nothing runs after it, no handler either."""


def cut_power_at(step: str, patch: pytest.MonkeyPatch) -> None:
    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    def half(path: Path, text: str) -> None:
        path.write_text(text[: len(text) // 2])
        raise PowerCut

    patch.setattr(os, "getpid", lambda: 1)  # of another process than the one that looks afterwards
    match step:
        case "write":
            patch.setattr(module, "_write_through", half)
        case "fsync":
            patch.setattr(os, "fsync", cut)
        case "rename":
            patch.setattr(Path, "replace", cut)
        case "sync folder":
            patch.setattr(Journal, "_sync_folder", cut)


@pytest.mark.parametrize("step", ["write", "fsync", "rename", "sync folder"])
def test_a_crash_at_any_step_leaves_a_complete_block_or_none(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    with monkeypatch.context() as patch:
        cut_power_at(step, patch)
        with pytest.raises(PowerCut):
            journal.record(BLOCKS[2])
    assert list(journal.pending()) == ([BLOCKS[1], BLOCKS[2]] if step == "sync folder" else [BLOCKS[1]])
    assert [name for name in names(tmp_path) if not name.endswith(".block")] == []  # the half one is swept away


@pytest.mark.parametrize("step", ["rename", "sync folder"])
def test_a_crash_while_settling_leaves_the_block_pending_or_settled(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    with monkeypatch.context() as patch:
        cut_power_at(step, patch)
        with pytest.raises(PowerCut):
            journal.settle(BLOCKS[1])
    assert [*journal.pending(), *journal.settled_from(0)] == [BLOCKS[1]]


def test_nothing_is_said_to_be_written_before_file_and_folder_are_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace_ = os.fsync, Path.replace

    def watch_fsync(descriptor: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def watch_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace_(self, target)

    monkeypatch.setattr(os, "fsync", watch_fsync)
    monkeypatch.setattr(Path, "replace", watch_replace)
    Journal(tmp_path).record(BLOCKS[1])
    assert steps == ["file", "rename", "folder"]
    steps.clear()
    Journal(tmp_path / "blocks").record(BLOCKS[1])
    assert steps == ["folder", "file", "rename", "folder"]  # first of all the new folder's name in the one above


def test_another_block_being_written_is_not_swept_away(tmp_path: Path) -> None:
    aside = tmp_path / f".{1:09d}-{'0' * 64}.{os.getpid()}"
    stranger = tmp_path / ".notes"
    aside.touch()
    stranger.touch()
    assert list(Journal(tmp_path).pending()) == []
    assert aside.exists() and stranger.exists()


def test_a_full_disk_is_an_error_that_names_the_folder_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match=f"{tmp_path}.*No space left"):
        Journal(tmp_path).record(BLOCKS[1])
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError):
        Journal(tmp_path / "file").record(BLOCKS[1])


def change(**changes: object) -> Callable[[str], str]:
    return lambda text: json.dumps({**json.loads(text), **changes})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: "[]",
        lambda text: "null",
        lambda text: "[" * 100_000,
        change(block="00"),
        change(block=5),
        change(block="zz"),
        change(hash="0" * 64),
        change(height=2),
        change(height=float("inf")),
        change(height=None),
        change(found_at="yesterday"),
        change(block=BLOCKS[2].raw.hex()),
        lambda text: "\N{SNOWMAN}",
    ],
)
def test_a_file_that_was_spoilt_is_reported_and_the_others_are_handed_in(
    tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    journal.record(BLOCKS[3])
    (path,) = tmp_path.glob("*1-*.block")
    path.write_text(spoil(path.read_text()))
    error, block = journal.pending()
    assert isinstance(error, JournalError) and str(path) in str(error)
    assert block == BLOCKS[3]
    assert path.exists()  # a person may still make something of it


def test_a_file_larger_than_any_block_is_not_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    (path,) = tmp_path.iterdir()
    os.truncate(path, 1 << 30)
    (error,) = journal.pending()
    assert isinstance(error, JournalError) and "larger" in str(error)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "README.block", f"{'0' * 64}.settled"):
        (tmp_path / name).touch()
    journal = Journal(tmp_path)
    assert list(journal.pending()) == list(journal.settled_from(0)) == []
    assert len(names(tmp_path)) == 3


@given(st.binary(max_size=300))
def test_no_content_of_a_file_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / f"{1:09d}-{'0' * 64}.block").write_bytes(content)
    (outcome,) = Journal(folder).pending()
    assert isinstance(outcome, JournalError)


def test_the_same_block_may_be_recorded_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.record(BLOCKS[1])
    journal.record(replace(BLOCKS[1], found_at=1.0))
    assert [block.found_at for block in journal.pending() if isinstance(block, FoundBlock)] == [1.0]
