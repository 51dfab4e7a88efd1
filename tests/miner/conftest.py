"""Fixtures of the operator's side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.miner.operators import Operator


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    home, cwd = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    cwd.mkdir()
    return Operator(home, cwd, {"HOME": str(home)})
