from __future__ import annotations

from dataclasses import replace

from backends.asic.boards.catalogue import KINDS
from backends.asic.chips.chip import BM1370
from backends.asic.health import Health

GAMMA = KINDS["bitaxe-gamma"]


def working(health: Health, seconds: int, results_hz: float = 4.0, begin: int = 0) -> float:
    for now in range(begin, begin + seconds + 1):
        health.hashed(results_hz, float(now))
    return float(begin + seconds)


def test_it_is_silent_when_twenty_results_are_missing() -> None:
    health = Health(GAMMA, 0.0)
    assert not health.silent(working(health, 4))
    assert health.silent(working(health, 2, begin=4))


def test_a_result_ends_the_silence() -> None:
    health = Health(GAMMA, 0.0)
    health.good(0, 3, working(health, 9))
    assert not health.silent(9.0)
    assert health.silent(working(health, 6, begin=9))


def test_without_work_nobody_is_silent() -> None:
    health = Health(GAMMA, 0.0)
    working(health, 4)
    working(health, 1000, results_hz=0.0, begin=4)
    assert not health.silent(1004.0)


def test_a_fast_board_is_given_five_seconds() -> None:
    health = Health(GAMMA, 0.0)
    assert not health.silent(working(health, 4, results_hz=100.0))


def test_more_than_one_wrong_result_in_twenty_is_said_once_for_each_batch() -> None:
    health = Health(GAMMA, 0.0)
    for _ in range(18):
        health.good(0, 0, 1.0)
    health.wrong = 1
    assert not health.errs(), "nineteen are too few to judge"
    health.wrong = 2
    assert health.errs()
    assert not health.errs()
    for _ in range(99):
        health.good(0, 0, 1.0)
    health.wrong = 3
    assert not health.errs()
    assert health.findings() == []


def test_silent_chips_and_cores_are_named() -> None:
    health = Health(replace(GAMMA, chips=2), 0.0)
    working(health, 100)
    health.good(1, 5, 100.0)
    assert health.findings() == ["silent chips: 0"]
    health = Health(GAMMA, 0.0)
    for core in range(BM1370.cores):
        for _ in range(30):
            if core not in (7, 9):
                health.good(0, core, 1.0)
    working(health, 1000)
    assert health.findings() == ["silent cores: 7, 9"]
    health.wrong = 1000
    assert "were wrong" in health.findings()[1]
