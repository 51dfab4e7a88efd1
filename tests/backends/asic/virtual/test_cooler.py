"""A virtual board without its cooler heats while it hashes and cools while it is off, until safety latches it."""

from __future__ import annotations

import pytest

from backends.asic.boards.board import BoardKind, Readings, Sensor
from backends.asic.boards.catalogue import KINDS
from backends.asic.safety import CutOff, Faster, Latch, Look, Release, Safety, Slower
from backends.asic.virtual import VirtualBoard, VirtualBus
from backends.asic.virtual.chips.chain import Chain


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def plugged(order: str, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, busy: bool) -> VirtualBoard:
    bus = VirtualBus(clock=clock, search=object())  # type: ignore[arg-type]  no chip searches here
    board = bus.plug(order)
    board.close()
    monkeypatch.setattr(Chain, "busy", busy)
    return board


def decisions_on(board: VirtualBoard, kind: BoardKind, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[type]:
    """What safety decides in ten minutes of looks, once a second; its decisions turn the board off and on."""
    safety, decided = Safety(kind.limits, frozenset({Sensor.CHIP_C}), 0.0), []
    for _ in range(600):
        clock.now += 1.0
        look = Look(
            Readings({Sensor.CHIP_C: board.body_c(5.0 if board.chain.busy else 0.25)}), settled=board.chain.busy
        )
        for effect in safety.handle(look, clock.now):
            decided.append(type(effect))
            if isinstance(effect, CutOff | Release):
                monkeypatch.setattr(Chain, "busy", isinstance(effect, Release))
    return decided


@pytest.mark.parametrize("name", ["compac-a1", "bitaxe-gamma"])
def test_it_is_cut_off_rests_returns_and_is_latched_at_the_third_time(
    name: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = plugged(f"{name},fault=cooler", clock, monkeypatch, busy=True)
    decided = decisions_on(board, KINDS[name], clock, monkeypatch)
    assert [effect for effect in decided if effect not in {Slower, Faster}] == [
        CutOff,
        Release,
        CutOff,
        Release,
        CutOff,
        Latch,
    ]


def test_with_its_cooler_it_is_never_cut_off(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    board = plugged("bitaxe-gamma", clock, monkeypatch, busy=True)
    assert decisions_on(board, KINDS["bitaxe-gamma"], clock, monkeypatch) == []


def test_the_number_is_the_heat_that_it_nears(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    board = plugged("compac-a1,fault=cooler:90", clock, monkeypatch, busy=True)
    clock.now = 1000.0
    assert board.body_c(5.0) == pytest.approx(90.0)
    monkeypatch.setattr(Chain, "busy", False)
    clock.now = 2000.0
    assert board.body_c(0.0) == pytest.approx(25.0)
