from __future__ import annotations

from pathlib import Path

import pytest

from backends.cpu.choice.choice import Choice, Outcome, choose, read, reasons, write
from backends.kernels.candidates import Candidate

CANDIDATES = [Candidate(name, (), 1.0) for name in ("first", "second", "third")]


def measured(**rates: dict[int, float]) -> dict[str, Outcome]:
    return {name: Outcome(rates_hps=by_count) for name, by_count in rates.items()}


def test_the_fastest_for_one_version_need_not_be_the_fastest_for_several() -> None:
    record = measured(first={1: 10.0, 16: 10.5}, second={1: 8.0, 4: 11.0, 16: 12.0, 32: 12.1})
    assert choose(CANDIDATES, record) == Choice("first", "second", 16)


def test_what_differs_by_noise_is_decided_by_the_order_and_by_fewer_versions() -> None:
    record = measured(first={1: 9.9, 4: 9.95, 32: 10.0}, second={1: 10.0, 4: 10.0, 32: 10.0})
    assert choose(CANDIDATES, record) == Choice("first", "first", 1)


def test_a_kernel_that_gains_nothing_from_versions_gets_one_at_a_time() -> None:
    assert choose(CANDIDATES, measured(third={1: 10.0, 4: 9.0})) == Choice("third", "third", 1)


def test_what_was_refused_cannot_run_or_was_not_measured_is_not_chosen() -> None:
    record = measured(second={1: 99.0}, third={1: 1.0}) | {"first": Outcome(refused="crashed")}
    unable = [CANDIDATES[0], Candidate("second", (), 1.0, unusable="no avx2"), CANDIDATES[2]]
    assert choose(unable, record) == Choice("third", "third", 1)
    assert choose(CANDIDATES, {}) is None


def test_of_each_kernel_that_is_not_chosen_it_is_known_why() -> None:
    candidates = [
        Candidate("lacking", (), 1.0, unusable="this processor has no sha"),
        *(Candidate(name, (), 1.0) for name in ("crashed", "slow", "chosen", "new")),
    ]
    record = measured(slow={1: 7.1}, chosen={1: 10.0}) | {"crashed": Outcome(refused="crashed with SIGILL")}
    assert reasons(candidates, record) == {
        "lacking": "this processor has no sha",
        "crashed": "crashed with SIGILL",
        "slow": "measured slower: 0.71 times chosen",
        "new": "not tried here yet",
    }


def test_what_was_measured_is_remembered_for_each_processor(tmp_path: Path) -> None:
    record = measured(first={1: 1.5, 16: 2.0}) | {"second": Outcome(refused="crashed with SIGILL")}
    write(tmp_path, "ACME 9000", record)
    write(tmp_path, "ACME 9001", {})
    assert read(tmp_path, "ACME 9000") == record
    assert read(tmp_path, "ACME 9001") == {}
    assert [x.name for x in tmp_path.iterdir()] == ["measured.json"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "torn",
        "[]",
        '{"ACME 9000": {"first": {"rates_hps": {"1": -1}}}}',
        '{"ACME 9000": {"first": {"rates_hps": {"0": 1}}}}',
        '{"ACME 9000": {"first": {"warp": 1}}}',
        " " * 2_000_000,
    ],
)
def test_a_file_that_is_not_in_order_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "measured.json").write_text(text)
    told: list[str] = []
    assert read(tmp_path, "ACME 9000", told.append) == {}
    assert len(told) == 1 and "measured.json" in told[0]
    write(tmp_path, "ACME 9000", measured(first={1: 1.0}))
    assert choose(CANDIDATES, read(tmp_path, "ACME 9000")) == Choice("first", "first", 1)


def test_a_file_from_before_formats_had_versions_is_read(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text('{"ACME 9000": {"first": {"rates_hps": {"1": 1.5}}}}')
    assert read(tmp_path, "ACME 9000") == measured(first={1: 1.5})


def test_a_file_of_a_newer_program_is_neither_read_nor_written_over(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text('{"version": 9, "content": []}')
    told: list[str] = []
    assert read(tmp_path, "ACME 9000", told.append) == {}
    assert "newer version" in told[0]
    with pytest.raises(OSError, match="newer version"):
        write(tmp_path, "ACME 9000", measured(first={1: 1.0}))
    assert (tmp_path / "measured.json").read_text() == '{"version": 9, "content": []}'


def test_without_a_folder_nothing_is_remembered() -> None:
    write(None, "ACME 9000", measured(first={1: 1.0}))
    assert read(None, "ACME 9000") == {}
