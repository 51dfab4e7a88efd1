from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

import native
from backends import kernels
from backends.cpu.choice.choice import Choice, Outcome, Record
from backends.cpu.choice.forge import Forge, forged
from backends.cpu.choice.plan import Plan
from backends.cpu.choice.workshop import Interrupted, Refused

GOOD, BEST = kernels.Candidate("good", (), 1.0), kernels.Candidate("best", (), 3.0)
RATES = {"good": 1.0, "best": 2.0}


class Named:
    """A search that is only its name."""

    def __init__(self, name: str) -> None:
        self.name = name


@dataclass
class Maker:
    """A workshop without tools."""

    candidates: Sequence[kernels.Candidate] = (BEST, GOOD)
    refuse: dict[str, Exception] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=lambda: dict(RATES))
    race_error: Exception | None = None
    record: Record = field(default_factory=dict)
    proved: list[str] = field(default_factory=list)
    gate: Callable[[], object] = lambda: None
    interrupted: threading.Event = field(default_factory=threading.Event)

    def plan(self) -> Plan:
        return Plan(self.candidates, self.record, set())

    def prove(self, name: str) -> None:
        self.proved.append(name)
        self.gate()
        if error := self.refuse.get(name):
            raise error

    def race(self, names: Sequence[str]) -> Record:
        if self.race_error:
            raise self.race_error
        return {name: Outcome(rates_hps={1: self.rates[name]}) for name in names}

    def load(self, choice: Choice) -> Any:
        return Named(choice.single)

    def remember(self, record: Record) -> None:
        self.record = record

    def interrupt(self) -> None:
        self.interrupted.set()

    def resume(self) -> None:
        self.interrupted.clear()


def worked(maker: Maker, made: Forge | None = None) -> tuple[Forge, list[str | None]]:
    """A forge that has done its work, and the names of what it had to offer each time that it said so."""
    made = made or Forge(maker)
    offered: list[str | None] = []
    made.changed = lambda: offered.append(made.search and made.search.name)
    made.begin()
    if thread := made._thread:
        thread.join(10.0)
    return made, offered


def test_something_quick_comes_first_and_what_measures_faster_replaces_it() -> None:
    maker = Maker()
    made, offered = worked(maker)
    assert offered[0] == "good" and offered[-1] == "best"
    assert made.doing is None and made.failure is None
    assert maker.record["best"].rates_hps == {1: 2.0}


def test_a_kernel_of_reputation_that_measures_slower_is_not_used() -> None:
    _, offered = worked(Maker(rates={"good": 1.0, "best": 0.01}))
    assert set(offered) == {"good"}


def test_a_kernel_that_fails_its_proof_is_skipped_with_its_reason_and_remembered() -> None:
    maker = Maker(refuse={"best": Refused("missed a block", for_good=True)})
    made, offered = worked(maker)
    assert set(offered) == {"good"}
    assert made.refused == {"best": "missed a block"}
    assert maker.record["best"].refused == "missed a block"


def test_after_a_refused_start_the_rest_has_its_turn_and_a_passing_reason_is_forgotten() -> None:
    maker = Maker(refuse={"good": ValueError("a defect in its making")})
    made, offered = worked(maker)
    assert set(offered) == {"best"}
    assert made.refused == {"good": "a defect in its making"}
    assert "good" not in maker.record


def test_when_none_is_left_it_says_of_each_why_and_tries_again_when_asked() -> None:
    maker = Maker(refuse={"good": native.CompilationError("no"), "best": kernels.ProofError("wrong")})
    made, offered = worked(maker)
    assert offered == [None]
    assert made.failure == "no kernel works here: best: wrong; good: no"
    maker.refuse.clear()
    worked(maker, made)
    assert made.search and made.search.name == "best"
    assert made.failure is None and not made.refused


def test_what_cannot_be_measured_goes_on_with_what_works() -> None:
    said: list[str] = []
    maker = Maker(race_error=Refused("no processes left", for_good=False))
    made, offered = worked(maker, Forge(maker, log=lambda event, **_: said.append(event)))
    assert offered == ["good"]
    assert said == ["kernel_ready", "kernels_not_measured"]
    assert made.failure is None and made.doing is None


def test_a_second_begin_neither_repeats_nor_doubles_the_work() -> None:
    started, release = threading.Event(), threading.Event()
    maker = Maker([BEST], gate=lambda: (started.set(), release.wait(10.0)))
    made = Forge(maker)
    made.begin()
    assert started.wait(10.0)
    assert made.doing == "compiling best"
    made.begin()
    release.set()
    worked(maker, made)
    assert maker.proved == ["best"]


def test_at_rest_it_does_nothing_and_goes_on_where_it_was() -> None:
    started, maker = threading.Event(), Maker([BEST])

    def gate() -> None:
        if len(maker.proved) == 1:
            started.set()
            maker.interrupted.wait(10.0)
            raise Interrupted

    maker.gate = gate
    made = Forge(maker)
    made.begin()
    assert started.wait(10.0)
    thread = made._thread
    made.rest()
    assert thread
    thread.join(10.0)
    assert (made.search, made.failure, made.refused, maker.proved) == (None, None, {}, ["best"])
    _, offered = worked(maker, made)
    assert maker.proved == ["best", "best"] and offered[0] == "best"


def test_a_rest_that_ends_before_it_was_noticed_loses_nothing() -> None:
    started, maker = threading.Event(), Maker([BEST])

    def gate() -> None:
        if len(maker.proved) == 1:
            started.set()
            maker.interrupted.wait(10.0)
            begun_again.wait(10.0)
            raise Interrupted

    begun_again, maker.gate = threading.Event(), gate
    made = Forge(maker)
    made.begin()
    assert started.wait(10.0)
    thread = made._thread
    made.rest()
    maker.resume = lambda: None  # type: ignore[method-assign] # the fake's step in progress has yet to see the interrupt
    made.begin()
    begun_again.set()
    assert thread
    thread.join(10.0)
    assert made.search and made._thread is None


def test_it_gives_way_only_once_something_hashes() -> None:
    order: list[str] = []
    made = Forge(Maker([BEST]), settle=lambda: order.append("settled"))
    made.changed = lambda: order.append("ready")
    made.work()
    assert order[:2] == ["ready", "settled"]


def test_the_whole_plan_can_be_carried_out_at_once() -> None:
    assert forged(Maker()).name == "best"
    with pytest.raises(native.KernelError, match="broken"):
        forged(Maker([BEST], refuse={"best": Refused("broken", for_good=False)}))
