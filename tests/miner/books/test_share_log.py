from __future__ import annotations

import errno
import io
import json
from pathlib import Path
from typing import Any

import pytest

from miner.books import share_log
from miner.books.scribe import Job
from miner.books.share_log import ShareLog, ShareLogError
from miner.logs import output as logs
from miner.work.share import Answer, Reason, Share
from tests.work.making import EASY, a_job

WALL = 1_763_812_800.0


def a_share(number: int) -> Share:
    return Share(
        id=number,
        job=a_job(),
        device="cpu:0",
        extranonce2=b"\0\1",
        nonce=0xABC,
        version=0x20002000,
        ntime=0x65000000,
        hash=EASY - number,
        block=False,
        stale=False,
        found_at=10.0,
    )


def accepted(number: int) -> Answer:
    return Answer(number, accepted=True, block=False, sent_at=10.25, difficulty=512.0)


def open_log(path: Path) -> ShareLog:
    return ShareLog(path, clock=lambda: 11.0, wall=lambda: WALL)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_share_is_written_with_all_that_a_dispute_needs(tmp_path: Path) -> None:
    log = open_log(tmp_path / "l")
    log.sent(a_share(1))
    log.answered(accepted(1))
    assert lines(tmp_path / "l") == [
        {
            "time": WALL,
            "source": "pool",
            "job": "k",
            "device": "cpu:0",
            "extranonce2": "0001",
            "ntime": "65000000",
            "nonce": "00000abc",
            "version": "20002000",
            "hash": f"{EASY - 1:064x}",
            "target": f"{EASY:064x}",
            "difficulty": 512.0,
            "block": False,
            "verdict": "accepted",
            "text": "",
            "found_to_sent_s": 0.25,
            "sent_to_answered_s": 0.75,
        }
    ]


def test_a_refusal_is_written_with_the_pools_words_and_no_second_answer_is(tmp_path: Path) -> None:
    log = open_log(tmp_path / "l")
    log.sent(a_share(1))
    log.answered(Answer(1, accepted=False, block=False, reason=Reason.STALE, text="too\x1b late"))
    log.answered(accepted(1))
    (line,) = lines(tmp_path / "l")
    assert (line["verdict"], line["found_to_sent_s"]) == ("stale", None)
    assert "late" in line["text"]
    assert "\x1b" not in line["text"]


def test_what_was_never_answered_is_written_at_the_end(tmp_path: Path) -> None:
    log = open_log(tmp_path / "l")
    log.sent(a_share(1))
    log.close()
    log.close()
    assert [line["verdict"] for line in lines(tmp_path / "l")] == ["unanswered"]


def test_no_more_is_waited_for_than_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(share_log, "OPEN_SHARES", 2)
    log = open_log(tmp_path / "l")
    for number in (1, 2, 3):
        log.sent(a_share(number))
    assert [line["hash"] for line in lines(tmp_path / "l")] == [f"{EASY - 1:064x}"]


def test_after_rotation_it_goes_on_in_a_new_file(tmp_path: Path) -> None:
    log = open_log(tmp_path / "l")
    log.sent(a_share(1))
    log.answered(accepted(1))
    (tmp_path / "l").rename(tmp_path / "l.1")
    log.reopen()
    log.sent(a_share(2))
    log.answered(accepted(2))
    assert len(lines(tmp_path / "l")) == len(lines(tmp_path / "l.1")) == 1


def test_a_file_that_cannot_be_opened_anew_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    log = open_log(tmp_path / "d" / "l")
    (tmp_path / "d").rename(tmp_path / "e")
    log.reopen()
    log.sent(a_share(1))
    log.answered(accepted(1))
    assert len(lines(tmp_path / "e" / "l")) == 1


def test_a_file_that_cannot_be_written_is_known_before_mining(tmp_path: Path) -> None:
    with pytest.raises(ShareLogError, match="cannot be written"):
        open_log(tmp_path / "none" / "l")


class Full(io.FileIO):
    """A file on a disk with room for so many bytes more."""

    room = 0

    def write(self, data: Any, /) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        fits = bytes(data)[: self.room]
        self.room -= len(fits)
        return super().write(fits)


def test_a_full_disk_costs_lines_and_neither_a_reload_nor_the_lines_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l"
    disk = Full(path, "ab")
    monkeypatch.setattr(share_log, "_appended_to", lambda _: disk)
    log = open_log(path)
    for number, room in ((1, 1 << 20), (2, 10), (3, 0), (4, 1 << 20)):
        disk.room = room
        log.sent(a_share(number))
        log.answered(accepted(number))
    first, torn, last = path.read_text().splitlines()
    assert [json.loads(line)["hash"] for line in (first, last)] == [f"{EASY - number:064x}" for number in (1, 4)]
    assert len(torn) == 10
    disk.room = 0
    log.sent(a_share(5))
    log.answered(accepted(5))
    monkeypatch.undo()
    log.reopen()
    log.sent(a_share(6))
    log.answered(accepted(6))
    assert json.loads(path.read_text().splitlines()[-1])["hash"] == f"{EASY - 6:064x}"


def test_a_disk_that_takes_no_more_drops_lines_and_says_how_many(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    takes = [True, False, False, True]

    def do(job: Job) -> bool:
        taken = takes.pop(0)
        if taken:
            job()
        return taken

    log = ShareLog(tmp_path / "l", clock=lambda: 11.0, wall=lambda: WALL, do=do)
    logs.configure("json", "info")
    for number in range(4):
        log.sent(a_share(number))
        log.answered(accepted(number))
    assert len(lines(tmp_path / "l")) == 2
    (said,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (said["event"], said["lines"]) == ("share_log_lost_lines", 2)
