"""A bench: chips whose clock the test owns, on a line without a bridge between."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.asic.virtual.chips.chain import Chain, Search
from backends.asic.virtual.chips.chip import ChipKind
from backends.asic.virtual.faults import Faults
from tests.backends.asic.virtual.bench import Clock, Line

VECTORS = Path(__file__).parents[3] / "vectors" / "usb_asic.json"


MakeLine = Callable[..., Line]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def faults() -> Faults:
    return Faults(seed=7)


@pytest.fixture
def chips(clock: Clock, faults: Faults, request: pytest.FixtureRequest) -> MakeLine:
    """Make a powered chain of one kind of chips."""

    def make(kind: ChipKind, count: int = 1, *, search: Search | None = None, scale: float = 1.0) -> Line:
        changed = threading.Condition(threading.RLock())
        chain = Chain(kind, count, faults, changed, clock, search, lambda: scale)
        request.addfinalizer(chain.close)
        with changed:
            chain.power(on=True)
        return Line(chain, changed)

    return make


@pytest.fixture(scope="session")
def vectors() -> dict[str, dict[str, Any]]:
    """By id."""
    return {vector["id"]: vector for vector in json.loads(VECTORS.read_text())["vectors"]}
