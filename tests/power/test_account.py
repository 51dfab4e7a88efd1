from __future__ import annotations

import pytest

from miner.power.account import Account, Mark

KWH = 3.6e6


def test_efficiency_and_cost_are_those_of_the_time_that_both_are_known() -> None:
    account = Account()
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=0.3)
    account.handle(Mark(KWH, 0.0, 10**15, 500.0), known=True, price_per_kwh=0.3)
    assert account.joules_per_hash == pytest.approx(3.6e-9)
    assert account.cost_per_difficulty == pytest.approx(0.3 / 500)
    assert account.spent == pytest.approx(0.3)


def test_work_done_in_a_gap_does_not_make_the_miner_look_better() -> None:
    account = Account()
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=None)
    account.handle(Mark(100.0, 0.0, 1000), known=True, price_per_kwh=None)
    account.handle(Mark(100.0, 0.0, 5000), known=False, price_per_kwh=None)
    account.handle(Mark(100.0, 60.0, 9000), known=True, price_per_kwh=None)
    account.handle(Mark(200.0, 60.0, 10_000), known=True, price_per_kwh=None)
    assert account.joules_per_hash == pytest.approx(0.1)


def test_what_a_counter_bridged_counts_with_the_work_of_that_time() -> None:
    account = Account()
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=None)
    account.handle(Mark(0.0, 0.0, 4000), known=False, price_per_kwh=None)
    account.handle(Mark(500.0, 0.0, 5000), known=True, price_per_kwh=None)
    assert account.joules_per_hash == pytest.approx(0.1)


def test_energy_of_one_meter_while_another_is_silent_waits_until_that_is_back() -> None:
    account = Account()
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=0.1)
    account.handle(Mark(50.0, 0.0, 1000), known=False, price_per_kwh=0.1)
    assert account.joules_per_hash is None
    account.handle(Mark(60.0, 10.0, 2000), known=True, price_per_kwh=0.1)
    assert account.joules_per_hash is None
    assert account.spent == pytest.approx(60.0 / KWH * 0.1)


def test_nothing_is_known_before_anything_was_done() -> None:
    account = Account()
    assert (account.joules_per_hash, account.cost_per_difficulty, account.spent) == (None, None, None)
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=None)
    account.handle(Mark(10.0, 0.0, 100, 5.0), known=True, price_per_kwh=None)
    assert account.cost_per_difficulty is None


def test_starting_up_is_paid_for_and_is_no_part_of_efficiency() -> None:
    account = Account()
    account.handle(Mark(0.0, 0.0, 0), known=True, price_per_kwh=0.3)
    account.handle(Mark(5000.0, 0.0, 0), known=True, price_per_kwh=0.3)
    account.handle(Mark(5100.0, 0.0, 1000, 2.0), known=True, price_per_kwh=0.3)
    assert account.joules_per_hash == pytest.approx(0.1)
    assert account.cost_per_difficulty == pytest.approx(100.0 / KWH * 0.3 / 2.0)
    assert account.spent == pytest.approx(5100.0 / KWH * 0.3)
