"""Golden vectors by section: `@pytest.mark.golden("merkle")` runs a test once per entry, as its argument `vector`;
`where=` narrows it to the entries for which a function answers true.

They were taken from other implementations and from mined blocks (each entry names its source), never from this code.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors" / "protocol.json"


@cache
def _sections() -> dict[str, list[dict[str, Any]]]:
    return json.loads(VECTORS.read_text("utf-8"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "golden(section, where=None): run once per golden vector of a section")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("golden")
    if marker is None:
        return
    chosen = marker.kwargs.get("where", lambda _: True)
    entries = [entry for entry in _sections()[marker.args[0]] if chosen(entry)]
    metafunc.parametrize("vector", entries, ids=[entry["id"] for entry in entries])
