"""Every parser of untrusted bytes under atheris for a while; `make fuzz` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.__main__ import NAMES, fuzz

SECONDS = 20


@pytest.mark.parametrize("name", NAMES)
def test_nothing_escapes_and_memory_stays_bounded(name: str, tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="atheris has no wheel for this processor")
    status = fuzz(name, SECONDS, tmp_path)
    assert status == 0, [path.read_bytes()[:1000] for path in tmp_path.glob("found-*")]
