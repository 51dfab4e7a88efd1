from __future__ import annotations

import struct
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate

import pytest

from backends.opencl.protocol import Done, Drop, Dropped, Report, Stretch
from backends.opencl.worker.search import IN_FLIGHT, Outcome, Ticket
from backends.opencl.worker.serving import Serving, parts
from tests.backends.opencl.fakes import HashlibSearch

TARGET = (1 << 256) - 1 >> 6


@dataclass
class Clocked(HashlibSearch):
    """Each launch takes 10 ms of a clock that nothing else moves."""

    now: float = 0.0
    most_in_flight: int = 0

    def collect(self, ticket: Ticket) -> Outcome:
        self.most_in_flight = max(self.most_in_flight, len(self.flying))
        self.now += 0.01
        return super().collect(ticket)


@dataclass
class Bench:
    search: Clocked = field(default_factory=lambda: Clocked(size=512))
    told: list[Report] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.serving = Serving(self.search, self.told.append, clock=lambda: self.search.now)

    def done(self) -> list[tuple[int, int, int]]:
        return [(x.stretch, x.start, x.count) for x in self.told if isinstance(x, Done)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def stretch(
    number: int = 1,
    start: int = 0,
    count: int = 1 << 32,
    versions: tuple[int, ...] = (1,),
    target: int = TARGET,
) -> Stretch:
    return Stretch(id=number, header76="00" * 76, versions=versions, target=f"{target:x}", start=start, count=count)


def test_two_launches_are_in_flight_and_told_in_order(bench: Bench) -> None:
    bench.serving.add(stretch())
    for _ in range(4):
        bench.serving.step()
    assert bench.search.most_in_flight == IN_FLIGHT
    assert bench.done() == [(1, 512 * n, 512) for n in range(4)]
    hits = [hit for x in bench.told if isinstance(x, Done) for hit in x.hits]
    assert len(hits) > 10 and all(version == 1 for _, version in hits)


def test_stretches_follow_each_other_without_a_gap(bench: Bench) -> None:
    bench.serving.add(stretch(1, (1 << 32) - 700, 700))
    bench.serving.add(stretch(2, 100, 600, (1, 2)))
    while bench.serving.due_s is not None:
        bench.serving.step()
    assert bench.done() == [(1, (1 << 32) - 700, 512), (1, (1 << 32) - 188, 188), (2, 100, 512), (2, 612, 88)]
    assert bench.search.most_in_flight == IN_FLIGHT


def test_a_drop_lets_what_is_in_flight_be_told_and_nothing_else(bench: Bench) -> None:
    bench.serving.add(stretch(1))
    bench.serving.add(stretch(2))
    bench.serving.step()
    bench.serving.drop(Drop(token=7))
    assert bench.serving.due_s == 0.0
    while bench.serving.due_s is not None:
        bench.serving.step()
    assert bench.done() == [(1, 0, 512), (1, 512, 512)]
    assert bench.told[-1] == Dropped(token=7)
    bench.serving.add(stretch(3))
    bench.serving.step()
    assert bench.done()[-1] == (3, 0, 512)


def hash_of(nonce: int) -> int:
    """Under version 1 of the header that `stretch` is of."""
    digest = sha256(sha256(struct.pack("<I72xI", 1, nonce)).digest()).digest()
    return int.from_bytes(digest, "little")


def test_launches_without_a_hit_are_told_of_together_before_long(bench: Bench) -> None:
    bench.serving.add(stretch(1, count=1 << 15, target=1))
    while bench.serving.due_s is not None:
        bench.serving.step()
    told = [x for x in bench.told if isinstance(x, Done)]
    assert [(x.start, x.count) for x in told] == [
        (0, 21 * 512),
        (21 * 512, 21 * 512),
        (42 * 512, 21 * 512),
        (63 * 512, 512),
    ]
    assert [x.took_s for x in told] == [pytest.approx(x.count / 512 * 0.001) for x in told]


def test_a_hit_is_told_at_once_with_what_was_searched_before_it(bench: Bench) -> None:
    least = list(accumulate(map(hash_of, range(1 << 14)), min))
    first = next(nonce for nonce in range(3 * 512, 1 << 14) if least[nonce] < least[nonce - 1])
    bench.serving.add(stretch(target=least[first]))
    bench.serving.step()
    bench.serving.step()
    assert not bench.told
    while not bench.told:
        bench.serving.step()
    (done,) = bench.told
    assert isinstance(done, Done)
    assert (done.start, done.count, done.hits) == (0, (first // 512 + 1) * 512, ((first, 1),))


def test_what_was_searched_before_a_drop_is_told_as_its_own_stretch_whatever_comes_at_once_after_it(
    bench: Bench,
) -> None:
    bench.serving.add(stretch(1, target=1))
    bench.serving.step()
    assert not bench.told
    bench.serving.drop(Drop(token=7))
    bench.serving.add(stretch(2, 1 << 20, 1024, target=1))
    while bench.serving.due_s is not None:
        bench.serving.step()
    assert bench.done() == [(1, 0, 1024), (2, 1 << 20, 1024)]


def test_a_drop_with_nothing_to_do_is_answered(bench: Bench) -> None:
    bench.serving.drop(Drop(token=1))
    assert bench.serving.due_s == 0.0
    bench.serving.step()
    assert bench.told == [Dropped(token=1)]


@pytest.mark.parametrize("duty", [0.25, 0.5])
def test_at_low_duty_it_rests_in_proportion(bench: Bench, duty: float) -> None:
    bench.serving.duty(duty)
    bench.serving.add(stretch())
    while bench.search.now < 4.0:
        due_s = bench.serving.due_s
        assert due_s is not None
        if due_s:
            bench.search.now += due_s
        else:
            bench.serving.step()
    assert 0.01 * len(bench.done()) / bench.search.now == pytest.approx(duty, rel=0.05)
    assert bench.search.most_in_flight == 1


def test_at_no_duty_nothing_is_launched_and_all_of_it_kept(bench: Bench) -> None:
    bench.serving.duty(0.0)
    bench.serving.add(stretch())
    assert bench.serving.due_s is None
    bench.serving.duty(1.0)
    assert bench.serving.due_s == 0.0


def test_more_hits_than_one_report_holds_are_told_in_parts_of_the_range() -> None:
    hits = [(nonce, version) for nonce in range(100, 200) for version in (1, 2)]
    told = list(parts(50, 1000, hits, most=7))
    assert [x for _, _, some in told for x in some] == hits
    assert all(len(some) <= 7 for _, _, some in told)
    position = 50
    for start, count, some in told:
        assert start == position and all(start <= nonce < start + count for nonce, _ in some)
        position += count
    assert position == 1050
