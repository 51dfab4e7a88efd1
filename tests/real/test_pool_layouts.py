"""The command on pools of every layout: a hundred shares, with rolled versions and a proved payout."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pool_mining import USER, mined, on
from tests.running import Home, home
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Terms
from tests.virtual.pool_work import Layout

# BIP 173's example of an address, and the script that it stands for.
ADDRESS = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
SCRIPT = bytes.fromhex("0014751e76e8199196d454941c45d1b3a323f1433bd6")
PROVED = ("--user", USER, "--address", ADDRESS, "--require-payout")
PLACES = [Layout.SCRIPT, Layout.SEQUENCE, Layout.OUTPUT, Layout.LAST]


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def terms(layout: Layout) -> Terms:
    """A pool whose jobs never make a share stale, however slow the machine is."""
    return Terms.of_layout(layout, difficulty=2**-15, every_s=0.5, clean_every=1 << 30, payout_script=SCRIPT)


@pytest.mark.parametrize("layout", PLACES, ids=lambda layout: layout.name.lower())
def test_a_hundred_shares_are_accepted_wherever_the_extranonces_lie(operator: Home, layout: Layout) -> None:
    with VirtualPool(terms(layout)) as pool:
        miner = operator.start(*on(pool), *PROVED, "--shares", "100")
        mined(miner)
        account, verdicts, violations = pool.account(USER), pool.verdicts(), pool.violations()
    assert account.accepted >= 100
    assert not account.rejected
    assert not violations
    assert len({verdict.header[:4] for verdict in verdicts}) > 1, "no version was rolled"
    said = miner.output()
    assert "height=840" in said
    assert "coinbase_odd" not in said
    assert "payout_missing" not in said


@pytest.mark.parametrize("layout", [each for each in Layout if each not in PLACES], ids=lambda each: each.name.lower())
def test_a_coinbase_that_cannot_be_read_is_mined_with_one_warning_and_refused_where_it_must_pay(
    operator: Home, layout: Layout
) -> None:
    with VirtualPool(terms(layout)) as pool:
        miner = operator.start(*on(pool), "--user", USER, "--shares", "20")
        mined(miner)
        assert pool.account(USER).accepted >= 20
        assert not pool.account(USER).rejected
        assert miner.output().count("coinbase_odd") == 1
        assert "height=" not in miner.output()
        wary = operator.start(*on(pool), *PROVED)
        wary.until("job_refused")
        wary.signal(signal.SIGINT)
        wary.ended()
        assert "its coinbase cannot be read" in wary.output()
        assert "share_accepted" not in wary.output()
