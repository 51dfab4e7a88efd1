"""The drivers on the emulated boards, through pyusb and real bridges: two independent readings of the same facts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

import pytest

from backends.asic.boards.board import Board, Nonce
from backends.asic.boards.catalogue import KINDS, open_board, recognise
from backends.asic.boards.chain import Options
from backends.asic.boards.script import Clock
from backends.asic.chips.ticket import UNIT
from backends.asic.usb.device import open_device
from backends.asic.virtual import VirtualBus
from backends.asic.virtual.chips.search import Engine
from backends.base import DeviceFault, Hit
from backends.testing import Template

SCALE_BITS = 20  # one hash really done stands for so many powers of two of the board's
EASY = (UNIT << SCALE_BITS) | (1 << SCALE_BITS) - 1
WORK = replace(Template(version=0x20000000).lease(0), version_mask=0x1FFFE000)
HURRIED = Clock(wait=lambda event, seconds: (event.wait(seconds / 20), None)[1])
PATIENCE_S = 20


@contextmanager
def opened(order: str, engine: Engine, clock: Clock = HURRIED) -> Iterator[Board]:
    name = order.partition(",")[0]
    bus = VirtualBus([order], scale=2.0**-SCALE_BITS, search=engine)
    try:
        [identity] = bus.scan()
        kind = recognise(identity)
        assert kind is KINDS[name]
        with open_device(bus, identity) as device:
            board = open_board(kind, device, Options(EASY, clock))
            yield board
            board.off()
            board.close()
    finally:
        bus.close()


@pytest.mark.parametrize("name", KINDS)
def test_it_starts_reads_mines_and_ends(name: str, engine: Engine) -> None:
    with opened(name, engine) as board:
        assert board.bring_up() == board.kind.chips
        readings = board.sensors()
        assert readings.problem is None and readings.values.keys() >= board.kind.sensors
        lowest = board.kind.limits.frequencies_hz[0]
        while (clock := board.set_frequency(lowest)) != lowest:
            assert clock < lowest
        ticket = board.set_ticket(EASY >> 2)
        found: list[Nonce] = []
        sent_until, give_up = 0.0, time.monotonic() + PATIENCE_S
        while len(found) < 3 and time.monotonic() < give_up:
            if time.monotonic() >= sent_until:
                seconds = board.send(WORK)
                assert seconds is not None
                sent_until = time.monotonic() + seconds
            results = board.receive(0.05)
            assert all(isinstance(result, Nonce) for result in results)
            found += [result for result in results if isinstance(result, Nonce)]
    assert len(found) >= 3
    for nonce in found:
        assert Hit(nonce.work, nonce.nonce, nonce.version, nonce.ntime).hash() <= ticket


@pytest.mark.parametrize("name", KINDS)
def test_turned_off_by_another_thread_a_start_ends_at_once(name: str, engine: Engine) -> None:
    with opened(f"{name},fault=dead-chip", engine, Clock()) as board, ThreadPoolExecutor(1) as pool:
        start = pool.submit(board.bring_up)  # would listen for seconds
        assert not wait([start], timeout=0.3).done
        before = time.monotonic()
        board.off()
        with pytest.raises(DeviceFault):
            start.result(timeout=5)
        assert time.monotonic() - before < 2
