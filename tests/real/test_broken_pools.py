"""The command on a first pool that credits nothing and a healthy second one, with the pauses that operators have."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pool_mining import EASY, USER, mined, more, on
from tests.running import Home, home
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import SPELLS
from tests.virtual.pool_model import Pool

MOVED_S = 40.0


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def handed_in(model: Pool) -> int:
    return len(model.requests("mining.submit"))


@pytest.mark.parametrize("spell", ["frozen", "refuses everything"])
def test_the_devices_leave_a_pool_that_credits_nothing_and_return_when_it_does(operator: Home, spell: str) -> None:
    with VirtualPool(EASY) as first, VirtualPool(EASY) as second:
        miner = operator.start(*on(first, second), "--user", USER, "--return-after", "0.5")
        more(first)
        first.always("mining.submit", SPELLS[spell])
        began = time.monotonic()
        more(second)
        assert time.monotonic() - began < MOVED_S
        at_first = first.do(handed_in)
        miner.until("source_distrusted")
        miner.until("pool-no-credit")
        time.sleep(10.0)
        assert first.do(handed_in) - at_first < 20, "what devices were at when work moved, and no more"
        first.heal()
        more(first)
        miner.until("source_trusted")
        miner.signal(signal.SIGINT)
        mined(miner)
