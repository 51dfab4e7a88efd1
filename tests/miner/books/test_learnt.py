from __future__ import annotations

from pathlib import Path

import pytest

from miner.books import learnt
from miner.books.learnt import Learnt
from miner.sources.stratum.rolling import Style


def test_what_was_learnt_is_known_at_the_next_start(tmp_path: Path) -> None:
    Learnt(tmp_path / "f").learn("pool", Style.REPLACE)
    again = Learnt(tmp_path / "f")
    assert again.style("pool") is Style.REPLACE
    assert again.style("other") is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pool": "sideways"}', b"\xff", b"[" * 100_000])
def test_a_file_that_cannot_be_read_costs_nothing_but_what_was_in_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f").write_bytes(content)
    fresh = Learnt(tmp_path / "f")
    assert fresh.style("pool") is None
    fresh.learn("pool", Style.REPLACE)
    assert Learnt(tmp_path / "f").style("pool") is Style.REPLACE


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    forgetful = Learnt(tmp_path / "none" / "f")
    forgetful.learn("pool", Style.REPLACE)
    assert forgetful.style("pool") is Style.REPLACE


def test_no_more_pools_are_remembered_than_anyone_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learnt, "_POOLS", 2)
    memory = Learnt(tmp_path / "f")
    for pool in ("a", "b", "a", "c"):
        memory.learn(pool, Style.REPLACE)
    assert [memory.style(pool) for pool in "abc"] == [Style.REPLACE, None, Style.REPLACE]
