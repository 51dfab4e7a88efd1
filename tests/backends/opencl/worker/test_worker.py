"""A worker's own loop, over pipes in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from backends.opencl import protocol
from backends.opencl.errors import OutOfResources
from backends.opencl.protocol import Lines, Open, Report, Sensed, Set
from backends.opencl.sensors.reading import PowerRange
from backends.opencl.worker.search import Search
from backends.opencl.worker.worker import Channel, serve
from tests.backends.opencl.fakes import CARD, HashlibSearch

OPEN = Open(identity=CARD, launch_s=0.05)


class Card:
    """Implements `sensors.Sensors`."""

    source = "fake"

    def __init__(self) -> None:
        self.limits: list[float] = []

    def read(self) -> Sensed:
        return Sensed()

    def power_range(self) -> PowerRange | None:
        return None

    def limit_power(self, power_w: float) -> float:
        self.limits.append(power_w)
        return power_w

    def restore(self) -> None:
        self.limits.append(300.0)


@contextmanager
def pipes() -> Iterator[tuple[int, int, int, int]]:
    ends = (*os.pipe(), *os.pipe())
    try:
        yield ends
    finally:
        for end in ends:
            try:
                os.close(end)
            except OSError:
                continue  # a test closed it


class Failing(HashlibSearch):
    def prepare(self, *_: object) -> None:  # type: ignore[override]
        raise OutOfResources("the card's memory is full")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("search", "status", "last"), [(HashlibSearch, 0, "power"), (Failing, 1, "failed")])
def test_the_cards_power_limit_is_put_back_however_it_ends(
    search: Callable[[], Search], status: int, last: str
) -> None:
    card = Card()
    with pipes() as (heard, orders, told, reports):
        stretch = protocol.Stretch(id=1, header76="00" * 76, versions=(1,), target="ff", start=0, count=64)
        os.write(orders, b"".join(map(protocol.encode, (OPEN, Set(duty=1.0, power_w=150.0), stretch))))
        if search is not Failing:
            os.close(orders)
        assert serve(Channel(heard, reports), lambda *_: search(), lambda _: card) == status
        assert card.limits == [150.0, 300.0]
        said: list[Report] = [protocol.report(line) for line in Lines().feed(os.read(told, 1 << 16))]
    assert said[-1].kind == last
