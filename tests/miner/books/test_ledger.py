from __future__ import annotations

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miner.books import files
from miner.books.ledger import HASHES_S, SHARES_S, Day, Entry, Ledger, LedgerError, read, rendered, totals
from miner.books.scribe import Job
from miner.telemetry.snapshot import SourceView
from tests.telemetry.snapshots import source

NOON = 1_763_812_800.0  # 2025-11-22 12:00 UTC
NIGHT_S = 12 * 3600.0
POOL = "stratum+tcp://pool.example:3333"


def at_start(name: str = POOL) -> SourceView:
    return source(
        name, submitted=0, accepted=0, rejected={}, stale=0, blocks_accepted=0, accepted_difficulty=0.0, hashes=0
    )


def mined(view: SourceView, shares: int, **more: Any) -> SourceView:
    """So many shares of difficulty 4 later."""
    found = replace(
        view,
        hashes=view.hashes + (shares << 34),
        submitted=view.submitted + shares,
        accepted=view.accepted + shares,
        accepted_difficulty=view.accepted_difficulty + 4.0 * shares,
    )
    return replace(found, **more)


def only(folder: Path, date: str = "2025-11-22") -> Entry:
    (day,) = [day for day in read(folder) if day.date == date]
    return day.entries[POOL]


def test_what_changed_is_booked_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 3)
    ledger.book([view], NOON)
    ledger.book([view], NOON + 10)
    view = mined(view, 2, submitted=9, stale=1, rejected={"low-difficulty": 2}, blocks_accepted=1)
    ledger.book([view], NOON + 20)
    entry = only(tmp_path)
    assert (entry.submitted, entry.accepted, entry.difficulty, entry.blocks) == (9, 5, 20.0, 1)
    assert entry.rejected == {"low-difficulty": 2, "stale": 1}
    assert entry.hashes == 5 << 34
    assert entry.expected_difficulty == pytest.approx(20.0, rel=1e-4)
    assert (entry.since, entry.until) == (NOON, NOON + 20)


def test_the_next_start_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    for start in range(3):
        ledger = Ledger(tmp_path, NOON + 100 * start)
        ledger.book([mined(at_start(), 4)], NOON + 100 * start + SHARES_S)
    entry = only(tmp_path)
    assert (entry.accepted, entry.difficulty, entry.since) == (12, 48.0, NOON + SHARES_S)


def test_shares_are_on_disk_after_a_second_and_hashes_after_a_minute(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 1)
    ledger.book([view], NOON + SHARES_S)
    view = mined(view, 1)
    ledger.book([view], NOON + SHARES_S * 1.5)
    assert only(tmp_path).accepted == 1
    ledger.book([view], NOON + SHARES_S * 2)
    assert only(tmp_path).accepted == 2
    written = NOON + SHARES_S * 2
    view = replace(view, hashes=view.hashes + 1)
    ledger.book([view], written + HASHES_S - 1)
    assert only(tmp_path).hashes == 2 << 34
    ledger.book([view], written + HASHES_S)
    assert only(tmp_path).hashes == (2 << 34) + 1


def test_at_the_end_all_is_written(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    ledger.book([mined(at_start(), 7)], NOON + 0.1)
    ledger.write(NOON + 0.2)
    assert only(tmp_path).accepted == 7


def test_each_day_has_its_page(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 2)
    ledger.book([view], NOON + NIGHT_S - 0.5)
    ledger.book([mined(view, 3)], NOON + NIGHT_S)
    ledger.write(NOON + NIGHT_S + 1)
    assert [day.date for day in read(tmp_path)] == ["2025-11-22", "2025-11-23"]
    assert (only(tmp_path).accepted, only(tmp_path, "2025-11-23").accepted) == (2, 3)
    assert totals(read(tmp_path))[POOL].difficulty == 20.0
    assert [line for line in rendered(read(tmp_path)) if line.startswith("in all")] == [f"in all  {POOL}"]


def test_a_page_that_cannot_be_read_is_put_aside_and_kept(tmp_path: Path) -> None:
    page = tmp_path / "2025-11-22.json"
    page.write_text('{"day": "2025-11-22", "sources": {"x": {"since": -1')
    with pytest.raises(LedgerError, match=r"2025-11-22\.json is no page"):
        read(tmp_path)
    ledger = Ledger(tmp_path, NOON)
    ledger.book([mined(at_start(), 1)], NOON + 2)
    assert only(tmp_path).accepted == 1
    assert page.with_suffix(".unreadable").read_text().startswith('{"day"')


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", None, True], ids=repr)
def test_a_count_that_is_none_is_refused(tmp_path: Path, wrong: object) -> None:
    entry = Entry(NOON, NOON).plain() | {"accepted": wrong}
    (tmp_path / "2025-11-22.json").write_text(json.dumps({"day": "2025-11-22", "sources": {POOL: entry}}))
    with pytest.raises(LedgerError):
        read(tmp_path)


def test_a_full_disk_is_survived_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 1)
    with monkeypatch.context() as broken:
        broken.setattr(files, "replace_durably", full)
        ledger.book([view], NOON + 1)
        ledger.book([mined(view, 1)], NOON + 2)
    assert not read(tmp_path)
    ledger.book([mined(view, 2)], NOON + 3)
    assert only(tmp_path).accepted == 3


def test_a_disk_that_is_full_at_midnight_costs_nothing_of_either_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 2)
    with monkeypatch.context() as broken:
        broken.setattr(files, "replace_durably", full)
        ledger.book([view], NOON + NIGHT_S - 1)
        view = mined(view, 3)
        ledger.book([view], NOON + NIGHT_S + 1)
    view = mined(view, 4)
    ledger.book([view], NOON + NIGHT_S + 3)
    ledger.close(NOON + NIGHT_S + 4)
    assert (only(tmp_path).accepted, only(tmp_path, "2025-11-23").accepted) == (2, 7)


def test_a_page_that_cannot_be_opened_at_midnight_ends_nothing_and_is_not_written_over(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    view = mined(at_start(), 2)
    ledger.book([view], NOON + 2)
    blocked = tmp_path / "2025-11-23.json"
    blocked.mkdir()
    ledger.book([mined(view, 1)], NOON + NIGHT_S + 1)
    assert blocked.is_dir()
    blocked.rmdir()
    ledger.book([mined(view, 2)], NOON + NIGHT_S + 3)
    ledger.close(NOON + NIGHT_S + 3)
    assert (only(tmp_path).accepted, only(tmp_path, "2025-11-23").accepted) == (2, 2)


def test_at_the_end_what_no_page_was_open_for_is_written_on_the_old_one(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, NOON)
    (tmp_path / "2025-11-23.json").mkdir()
    view = mined(at_start(), 2)
    ledger.book([view], NOON + 2)
    ledger.book([mined(view, 1)], NOON + NIGHT_S + 1)
    ledger.close(NOON + NIGHT_S + 2)
    (tmp_path / "2025-11-23.json").rmdir()
    assert only(tmp_path).accepted == 3


def test_a_disk_that_does_not_answer_holds_nobody_up_and_gets_the_newest_when_it_does(tmp_path: Path) -> None:
    waiting: list[Job] = []

    def later(job: Job) -> bool:
        waiting.append(job)
        return True

    ledger = Ledger(tmp_path, NOON, later)
    view = at_start()
    for second in range(1, 9):
        view = mined(view, 1)
        ledger.book([view], NOON + 2 * second)
    assert len(waiting) == 1
    waiting.pop()()
    assert only(tmp_path).accepted == 1
    ledger.book([view], NOON + 20)
    ledger.book([mined(view, 1)], NOON + 22)
    ledger.close(NOON + 23)
    for job in waiting:
        job()
    assert only(tmp_path).accepted == 9


def test_pages_are_their_owners_alone(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger", NOON)
    ledger.book([mined(at_start(), 1)], NOON + 2)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ledger", *(tmp_path / "ledger").iterdir())]
    assert modes == [0o700, 0o600]


def test_for_people_it_says_what_is_open(tmp_path: Path) -> None:
    entry = Entry(NOON, NOON, hashes=1 << 33, submitted=5, accepted=3, difficulty=3.0)
    entry.rejected["stale"] = 1
    text = "\n".join(rendered([Day("2025-11-22", {POOL: entry})]))
    assert "5 submitted, 3 accepted, rejected: 1 stale, 1 without an answer yet" in text
    assert "3 accepted, 1.99996" in text


def test_without_a_folder_there_is_nothing_in_it(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
