from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.asic.latch import Latches, Record


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
    latches.trip("a")
    latches.latch("a", "hot")
    assert latches.record("a") == Record((Wall.now,), "hot")
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
        '{"trips": [NaN], "latched": null}',
        '{"trips": [1' + 400 * "0" + '], "latched": null}',
        60_000 * "[",
    ],
)
def test_a_record_that_cannot_be_understood_keeps_its_board_off(tmp_path: Path, content: str) -> None:
    Latches(tmp_path).latch("a", "hot")
    (tmp_path / "asic" / "a.json").write_text(content)
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


def test_the_record_stays_short(tmp_path: Path) -> None:
    latches = Latches(tmp_path, Wall())
    for _ in range(100):
        latches.trip("a")
    assert len(json.loads((tmp_path / "asic" / "a.json").read_text())["trips"]) == 32
