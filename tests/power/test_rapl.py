from __future__ import annotations

from pathlib import Path

import pytest

from miner.power import rapl
from miner.power.errors import Nonsense, Unreadable


def plant(root: Path, folder: str, name: str, joules: str = "1000000", range_uj: str = "262143328850") -> Path:
    zone = root / folder
    zone.mkdir()
    (zone / "name").write_text(name + "\n")
    (zone / "max_energy_range_uj").write_text(range_uj + "\n")
    (zone / "energy_uj").write_text(joules + "\n")
    return zone


def test_every_watt_lies_in_one_zone(tmp_path: Path) -> None:
    plant(tmp_path, "intel-rapl:0", "package-0")
    plant(tmp_path, "intel-rapl:0:0", "core")
    plant(tmp_path, "intel-rapl:0:1", "dram")
    plant(tmp_path, "intel-rapl:1", "package-1")
    plant(tmp_path, "intel-rapl:2", "psys")
    (tmp_path / "intel-rapl").mkdir()
    assert [zone.name for zone in rapl.zones(tmp_path)] == ["package-0", "package-0/dram", "package-1"]


def test_a_machine_without_counters_has_none(tmp_path: Path) -> None:
    assert rapl.zones(tmp_path / "absent") == ()


@pytest.mark.parametrize("range_uj", ["", "soon", "0", "-5"])
def test_a_zone_that_does_not_say_where_it_wraps_is_left_out(tmp_path: Path, range_uj: str) -> None:
    plant(tmp_path, "intel-rapl:0", "package-0", range_uj=range_uj)
    assert rapl.zones(tmp_path) == ()


def test_microjoules_become_joules(tmp_path: Path) -> None:
    plant(tmp_path, "intel-rapl:0", "package-0", "123456789")
    (zone,) = rapl.zones(tmp_path)
    assert rapl.read(zone) == 123.456789
    assert zone.range_j == 262143.328850


def test_a_counter_that_only_root_may_read_says_what_changes_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, "intel-rapl:0", "package-0")
    (zone,) = rapl.zones(tmp_path)

    def refused(*_args: object, **_more: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(Unreadable, match="tmpfiles"):
        rapl.read(zone)


def test_a_counter_that_vanishes_is_said_to_be_gone(tmp_path: Path) -> None:
    folder = plant(tmp_path, "intel-rapl:0", "package-0")
    (zone,) = rapl.zones(tmp_path)
    (folder / "energy_uj").unlink()
    with pytest.raises(Unreadable, match="package-0 is gone"):
        rapl.read(zone)


@pytest.mark.parametrize("text", ["", "-1", "1e5", "9" * 40, "ff", "²"])
def test_a_counter_that_says_nonsense_is_not_believed(tmp_path: Path, text: str) -> None:
    plant(tmp_path, "intel-rapl:0", "package-0", text)
    (zone,) = rapl.zones(tmp_path)
    with pytest.raises(Nonsense):
        rapl.read(zone)
