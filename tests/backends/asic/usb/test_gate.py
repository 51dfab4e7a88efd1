from __future__ import annotations

import threading

import pytest

from backends.asic.errors import BridgeStalled
from backends.asic.usb import gate
from backends.asic.usb.gate import Gate
from backends.base import Misuse

PATIENCE_S = 10.0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "WAIT_S", 0.02)


def test_transfers_overlap() -> None:
    door = Gate("it")
    with door.among_others(), door.among_others():
        pass


def test_an_act_alone_waits_for_transfers_and_keeps_new_ones_out() -> None:
    door = Gate("it")
    order: list[str] = []
    alone = threading.Event()
    done = threading.Event()

    def act() -> None:
        with door.alone():
            order.append("alone")
            alone.set()
            assert done.wait(PATIENCE_S)
            order.append("left")

    def transfer() -> None:
        with door.among_others():
            order.append("transfer")

    actor, late = threading.Thread(target=act), threading.Thread(target=transfer)
    with door.among_others():
        actor.start()
        order.append("first")
    assert alone.wait(PATIENCE_S)
    late.start()
    done.set()
    actor.join(PATIENCE_S)
    late.join(PATIENCE_S)
    assert order == ["first", "alone", "left", "transfer"]


def test_neither_waits_for_the_other_without_end(hasty: None) -> None:
    door = Gate("it")
    with door.alone():
        with pytest.raises(BridgeStalled, match="reset"), door.among_others():
            pass
        with pytest.raises(BridgeStalled, match="reset"), door.alone():
            pass
    with door.among_others(), pytest.raises(BridgeStalled, match="does not end"), door.alone():
        pass
    with door.alone(), pytest.raises(BridgeStalled):
        door.among_others().__enter__()


def test_once_closed_nothing_passes_and_closing_tells_whether_all_have_left(hasty: None) -> None:
    door = Gate("it")
    with door.among_others():
        assert not door.close()
    assert door.close()
    for way in (door.among_others, door.alone):
        with pytest.raises(Misuse, match="closed"), way():
            pass
