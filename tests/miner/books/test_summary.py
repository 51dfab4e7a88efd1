from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from miner.books import summary
from miner.books.summary import SummaryError
from miner.telemetry.snapshot import Basis, Consumption, Costs, MeterView
from tests.telemetry.snapshots import device, metered, snapshot, source


def test_the_keys_are_the_contract() -> None:
    view = snapshot(device(hardware_errors=1), sources=(source("a"), source("b", rejected={}, blocks_rejected=1)))
    assert summary.summarise(view) == {
        "hashes": 583_000_000,
        "seconds": 10.0,
        "hashes_per_second": 58_300_000.0,
        "blocks": {"accepted": 6, "rejected": 1},
        "shares": {"submitted": 28, "accepted": 22, "rejected": 1, "stale": 4},
        "hardware_errors": 1,
        "consumption": {},
        "meters": [],
        "costs": None,
        "devices": [
            {
                "id": "cpu:0",
                "backend": "cpu",
                "kind": "cpu",
                "model": "Example 9000",
                "virtual": False,
                "state": "mining",
                "hashes": 583_000_000,
                "hashes_per_second": 58_300_000.0,
                "hardware_errors": 1,
                "shares": 12,
                "restarts": 0,
                "energy_joules": None,
                "energy_joules_by_source": {},
                "joules_per_terahash": None,
                "energy_modelled": False,
            }
        ],
        "sources": [
            {
                "name": name,
                "hashes": 500_000_000,
                "shares": {"submitted": 14, "accepted": 11, "rejected": rejected, "stale": 2},
                "difficulty": 11264.0,
                "blocks": {"accepted": 3, "rejected": blocks_rejected},
                "reconnects": 0,
                "last_share_seconds": {"found_to_sent": 0.01, "sent_to_answered": 0.04},
            }
            for name, rejected, blocks_rejected in (("a", {"low-difficulty": 1}, 0), ("b", {}, 1))
        ],
    }


def test_what_it_took_and_what_that_cost_is_told_by_whose_word_it_is() -> None:
    view = snapshot(
        device(energy_by={"rapl": 60.0, "model": 40.0}, joules_per_hash=2e-11),
        meters=(MeterView("rack", machine=True, watts=None, joules=150.0, gap_s=3.0, fault="it does not answer"),),
        consumption=(
            Consumption(Basis.WALL, None, 150.0, 3e-11),
            Consumption(Basis.MODEL, 9.0, 100.0, 2e-11),
        ),
        costs=Costs("EUR", Basis.WALL, 0.3, spent=0.0125, per_difficulty=1e-6, break_even_per_kwh=0.069),
    )
    told = summary.summarise(view)
    assert told["consumption"] == {
        "wall": {"energy_joules": 150.0, "joules_per_terahash": pytest.approx(30.0)},
        "model": {"energy_joules": 100.0, "joules_per_terahash": pytest.approx(20.0)},
    }
    assert told["meters"] == [
        {"name": "rack", "energy_joules": 150.0, "gap_seconds": 3.0, "fault": "it does not answer"}
    ]
    assert told["costs"] == {
        "currency": "EUR",
        "basis": "wall",
        "spent": 0.0125,
        "per_share_difficulty": 1e-6,
        "break_even_price_per_kwh": 0.069,
    }
    assert told["devices"][0]["energy_joules"] == 100.0
    assert told["devices"][0]["energy_joules_by_source"] == {"rapl": 60.0, "model": 40.0}
    assert told["devices"][0]["joules_per_terahash"] == pytest.approx(20.0)
    assert told["devices"][0]["energy_modelled"] is True
    assert json.dumps(told, allow_nan=False)


def test_a_run_that_never_hashed_has_no_rate() -> None:
    result = summary.summarise(snapshot(device(hashes=0), mining_s=0.0))
    assert result["hashes_per_second"] is None
    assert result["devices"][0]["hashes_per_second"] is None


def test_the_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")
    with path.open() as reader:
        summary.write(path, snapshot(metered()))
        assert reader.read() == "old"
    assert json.loads(path.read_text()) == summary.summarise(snapshot(metered()))
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "s.json"
    link.symlink_to(tmp_path / "real/s.json")
    summary.write(link, snapshot())
    assert link.is_symlink()
    assert json.loads((tmp_path / "real/s.json").read_text())["hashes"] == 583_000_000


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=summary.write, args=(pipe, snapshot()))
    writer.start()
    assert json.loads(pipe.read_text())["seconds"] == 10.0
    writer.join(10)
    assert pipe.is_fifo()


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SummaryError, match=r"s\.json: No space left on device"):
        summary.write(path, snapshot())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("name", "reason"), [(".", "it is a folder"), ("none/s.json", "is not a folder")])
def test_what_cannot_be_written_is_known_before_mining(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(SummaryError, match=reason):
        summary.check_writable(tmp_path / name)


def test_what_can_be_written_passes_the_check_and_is_not_touched(tmp_path: Path) -> None:
    summary.check_writable(tmp_path / "s.json")
    summary.check_writable(Path(os.devnull))
    assert not list(tmp_path.iterdir())
