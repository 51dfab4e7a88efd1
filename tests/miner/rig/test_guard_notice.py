from __future__ import annotations

import json
from pathlib import Path

import pytest

from miner.rig.guard_notice import Notice, add, take

FIRST, SECOND = Notice("asic:A", "its miner was stopped", 1e9), Notice("asic:B", "the same", 2e9)


def test_what_a_guard_did_is_said_once_in_its_order(tmp_path: Path) -> None:
    add(tmp_path, [FIRST])
    add(tmp_path, [SECOND])
    assert take(tmp_path) == (FIRST, SECOND)
    assert take(tmp_path) == ()
    assert not list(tmp_path.iterdir())


def test_the_newest_are_kept_where_there_are_too_many(tmp_path: Path) -> None:
    many = [Notice(f"asic:{number}", "hung", 1.0) for number in range(100)]
    add(tmp_path, many)
    assert take(tmp_path) == tuple(many[-32:])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\x00",
        b'[{"device": "asic:A", "reason": "torn',
        b"7",
        b"null",
        b'{"device": 1}',
        b"[[]]",
        b'[{"device": "asic:A", "reason": "r", "at": 1e999}]',
        b'[{"device": "asic:A", "reason": "r", "at": NaN}]',
        b'[{"device": "asic:A", "reason": "r", "at": "now"}]',
        b"[" * 60_000,
        b" " * 1_000_000,
    ],
)
def test_a_torn_or_foreign_file_is_forgotten_and_does_not_keep_out_what_comes_next(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "guard.json"
    path.write_bytes(content)
    assert take(tmp_path) == ()
    assert not path.exists()
    path.write_bytes(content)
    add(tmp_path, [FIRST])
    assert take(tmp_path) == (FIRST,)


def test_texts_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "guard.json").write_text(json.dumps([{"device": "d" * 9999, "reason": "r" * 9999, "at": 0}]))
    [notice] = take(tmp_path)
    assert (len(notice.device), len(notice.reason), notice.at) == (500, 500, 0.0)


def test_a_folder_that_cannot_be_written_is_the_callers_to_tell(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        add(tmp_path / "nowhere", [FIRST])
    assert take(tmp_path / "nowhere") == ()
