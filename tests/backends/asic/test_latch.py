from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from backends.asic.latch import Latches, Record
from backends.base import Rest


class Wall:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def test_what_is_latched_outlives_the_process_until_a_person_says_so(tmp_path: Path) -> None:
    wall = Wall()
    first = Latches(tmp_path, wall)
    first.trip("F0000001")
    first.latch("F0000001", "too hot")
    wall.now += 100
    again = Latches(tmp_path, wall)
    assert again.record("F0000001").latched == "too hot"
    assert again.ages_s("F0000001") == [100.0]
    assert again.record("another") == Record()
    assert again.unlatch("F0000001")
    assert Latches(tmp_path).record("F0000001") == Record()
    assert not again.unlatch("F0000001")


def test_without_a_folder_it_is_kept_for_the_run() -> None:
    latches = Latches(None, Wall())
    latches.trip("a", "too hot")
    latches.latch("a", "hot")
    assert latches.record("a") == Record((Wall.now,), "hot", "too hot")
    assert latches.unlatch("a")
    assert latches.record("a") == Record()


def test_where_nothing_can_be_written_it_is_kept_for_the_run(tmp_path: Path) -> None:
    (tmp_path / "asic").write_text("a file in the way")
    told: list[str] = []
    latches = Latches(tmp_path, Wall(), lambda event, **_: told.append(event))
    latches.latch("a", "hot")
    assert latches.record("a").latched == "hot"
    assert told == ["asic_record_not_kept"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"trips": 3, "latched": null}',
        '{"trips": ["x"], "latched": null}',
        '{"trips": [], "latched": 1}',
        '{"format": 2, "trips": [], "latched": null, "resting": 1}',
        '{"format": "2", "trips": [], "latched": null}',
        '{"trips": [NaN], "latched": null}',
        '{"trips": [1' + 400 * "0" + '], "latched": null}',
        60_000 * "[",
    ],
)
def test_a_record_that_cannot_be_understood_keeps_its_board_off(tmp_path: Path, content: str) -> None:
    Latches(tmp_path).latch("a", "hot")
    (tmp_path / "asic" / "a.json").write_text(content)
    assert "cannot be read" in str(Latches(tmp_path).record("a").latched)


def test_a_fifo_in_the_place_of_a_record_keeps_its_board_off_and_blocks_nothing(tmp_path: Path) -> None:
    (tmp_path / "asic").mkdir()
    os.mkfifo(tmp_path / "asic" / "a.json")
    assert "cannot be read" in str(Latches(tmp_path).record("a").latched)


def test_a_serial_number_is_any_text_and_stays_in_the_folder(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    for serial in ("../../etc/passwd", "a/b", "\0", "ü" * 500, ""):
        latches.latch(serial, "hot")
        assert latches.record(serial).latched == "hot"
    assert {path.parent for path in tmp_path.rglob("*.json")} == {tmp_path / "asic"}


def test_a_clock_that_was_set_back_makes_no_trip_one_of_the_future(tmp_path: Path) -> None:
    wall = Wall()
    latches = Latches(tmp_path, wall)
    latches.trip("a")
    wall.now -= 1000
    assert latches.ages_s("a") == [0.0]


def test_a_board_that_was_cut_off_rests_and_says_why_and_until_when(tmp_path: Path) -> None:
    wall = Wall()
    latches = Latches(tmp_path, wall)
    assert latches.rest("a", 60.0) is None
    latches.trip("a", "chip is at 96 degrees")
    cut_off = Rest("chip is at 96 degrees", wall.now, wall.now + 60.0)
    wall.now += 59
    assert Latches(tmp_path, wall).rest("a", 60.0) == cut_off
    wall.now += 1000
    assert latches.rest("a", 60.0) == cut_off, "it was not released: it is hot still, or nothing drives it"
    latches.release("a")
    assert Latches(tmp_path, wall).rest("a", 60.0) is None
    assert len(latches.record("a").trips) == 1, "the cut-off still counts"


def test_once_the_disk_takes_records_again_none_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    latches = Latches(folder, Wall())
    latches.trip("a", "hot")
    folder.mkdir()
    latches.trip("a", "hot")
    latches.trip("a", "hot")
    assert len(latches.ages_s("a")) == len(Latches(folder, Wall()).ages_s("a")) == 3


def test_a_latched_board_does_not_rest_as_it_does_not_come_back(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    latches.trip("a", "hot")
    latches.latch("a", "hot, three times")
    assert latches.rest("a", 60.0) is None


def test_a_record_of_an_earlier_version_is_read_and_its_board_rests_for_an_unknown_reason(tmp_path: Path) -> None:
    wall = Wall()
    latches = Latches(tmp_path, wall)
    latches.trip("a")
    (tmp_path / "asic" / "a.json").write_text(f'{{"serial": "a", "trips": [{wall.now}], "latched": null}}')
    assert latches.record("a") == Record((wall.now,))
    wall.now += 59
    assert latches.rest("a", 60.0) == Rest("the record does not say why", Wall.now, Wall.now + 60.0)
    wall.now += 1
    assert latches.rest("a", 60.0) is None
    latches.latch("a", "hot")
    assert latches.unlatch("a")


def test_a_record_of_a_newer_version_keeps_its_board_off_and_says_so(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    latches.trip("a", "hot")
    path = tmp_path / "asic" / "a.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 3}))
    assert "a newer version of the miner wrote it" in str(latches.record("a").latched)
    assert latches.unlatch("a")


def test_unlatching_a_board_that_is_not_latched_forgets_none_of_its_cut_offs(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    latches.trip("a", "hot")
    assert not latches.unlatch("a")
    assert latches.record("a") == Record((Wall.now,), None, "hot")


def test_a_reason_is_kept_in_a_bounded_length(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    latches.trip("a", "x" * 100_000)
    assert latches.record("a").resting == "x" * 500


def test_the_record_stays_short(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    for _ in range(100):
        latches.trip("a")
    assert len(json.loads((tmp_path / "asic" / "a.json").read_text())["trips"]) == 32


def test_a_cut_off_rests_no_longer_when_the_clock_is_set_back(tmp_path: Path) -> None:
    now = [1000.0]
    latches = Latches(tmp_path, lambda: now[0])
    latches.trip("a", "too hot")
    now[0] = 500.0
    assert latches.rest("a", 60.0) == Rest("too hot", 500.0, 560.0)
