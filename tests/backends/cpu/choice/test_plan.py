from __future__ import annotations

import random

import pytest

from backends.cpu.choice.choice import Choice, Outcome, Record
from backends.cpu.choice.plan import Plan, Prove, Race, Use
from backends.kernels.candidates import Candidate

BEST, MIDDLE, QUICK = (Candidate(name, (), cost) for name, cost in (("best", 3.0), ("middle", 3.0), ("quick", 1.0)))
ALL = (BEST, MIDDLE, QUICK)


def alone(name: str) -> Choice:
    return Choice(name, name, 16)


def rates(**single: float) -> Record:
    return {name: Outcome(rates_hps={1: rate, 16: 1.2 * rate}) for name, rate in single.items()}


def carried_out(plan: Plan, truth: dict[str, float], broken: set[str] | None = None) -> list[Prove | Race | Use]:
    """Every step of a plan on a machine where kernels have these rates, or crash."""
    steps: list[Prove | Race | Use] = []
    while step := plan.next():
        steps.append(step)
        assert len(steps) < 50
        match step:
            case Prove(name) if name in (broken or set()):
                plan.refuse(name, "crashed", for_good=True)
            case Prove(name):
                plan.proved(name)
            case Race(names):
                plan.raced(rates(**{name: truth[name] for name in names}))
            case Use(choice):
                plan.uses(choice)
    return steps


def test_cold_it_starts_with_what_is_quick_and_ends_with_what_measures_fastest() -> None:
    assert carried_out(Plan(ALL, {}, set()), {"best": 3.0, "middle": 9.0, "quick": 1.0}) == [
        Prove("quick"),
        Use(alone("quick")),
        Race(("quick",)),
        Prove("best"),
        Race(("quick", "best")),
        Use(alone("best")),
        Prove("middle"),
        Race(("best", "middle")),
        Use(alone("middle")),
    ]


def test_warm_it_uses_the_remembered_winner_and_nothing_else() -> None:
    record = rates(best=1.0, middle=3.0, quick=2.0)
    assert carried_out(Plan(ALL, record, {"best", "middle", "quick"}), {}) == [Use(alone("middle"))]


def test_a_reputation_that_measuring_belies_is_never_used() -> None:
    steps = carried_out(Plan(ALL, {}, set()), {"best": 0.01, "middle": 0.5, "quick": 1.0})
    assert [step.choice.single for step in steps if isinstance(step, Use)] == ["quick"]


def test_what_crashed_is_not_tried_at_the_next_start() -> None:
    first = Plan(ALL, {}, set())
    carried_out(first, {"middle": 2.0, "quick": 1.0}, broken={"best"})
    again = carried_out(Plan(ALL, first.record, {"middle", "quick"}), {})
    assert again == [Use(alone("middle"))]


def test_a_starter_that_is_refused_leaves_the_start_to_the_rest() -> None:
    steps = carried_out(Plan(ALL, {}, set()), {"best": 2.0, "middle": 1.0}, broken={"quick"})
    assert steps[:3] == [Prove("quick"), Prove("best"), Use(alone("best"))]


def test_a_refusal_of_today_is_tried_again_tomorrow() -> None:
    plan = Plan([BEST], {}, set())
    plan.refuse("best", "no memory", for_good=False)
    assert plan.next() is None
    assert not plan.record


def test_when_every_kernel_is_refused_there_is_nothing_to_do() -> None:
    plan = Plan(ALL, {}, set())
    assert carried_out(plan, {}, broken={"best", "middle", "quick"}) == [Prove("quick"), Prove("best"), Prove("middle")]
    assert plan.in_use is None


def test_a_winner_whose_code_was_lost_is_compiled_again_behind_one_that_was_not() -> None:
    record = rates(best=1.0, middle=3.0, quick=2.0)
    steps = carried_out(Plan(ALL, record, {"quick"}), {})
    assert steps == [Use(alone("quick")), Prove("middle"), Use(alone("middle"))]


def test_measuring_that_was_interrupted_goes_on_where_it_was() -> None:
    steps = carried_out(Plan(ALL, rates(best=3.0, quick=1.0), {"best", "quick"}), {"best": 3, "middle": 4, "quick": 1})
    assert steps[:2] == [Use(alone("best")), Prove("middle")]
    assert steps[-1] == Use(alone("middle"))


def test_without_a_cache_two_kernels_are_compiled_and_no_more() -> None:
    steps = carried_out(Plan(ALL, {}, set(), most=2), {"best": 0.1, "quick": 1.0})
    assert [step.name for step in steps if isinstance(step, Prove)] == ["quick", "best"]
    assert steps[-1] == Race(("quick", "best"))


def test_a_race_that_could_not_be_run_is_not_repeated() -> None:
    plan = Plan([BEST], {}, {"best"})
    plan.uses(alone("best"))
    race = plan.next()
    assert race == Race(("best",))
    plan.spoiled(race, "no processes left", for_good=False)
    assert plan.next() is None
    assert not plan.refused


def test_a_newcomer_that_crashes_in_its_race_is_refused_and_the_others_have_their_turn() -> None:
    plan = Plan(ALL, rates(quick=1.0), {"quick", "best"})
    plan.uses(alone("quick"))
    race = plan.next()
    assert race == Race(("quick", "best"))
    plan.spoiled(race, "crashed with SIGILL", for_good=True)
    assert plan.record["best"].refused == "crashed with SIGILL"
    assert plan.next() == Prove("middle")


def test_a_race_in_a_bad_spell_takes_nothing_from_what_a_kernel_has_shown() -> None:
    plan = Plan(ALL, rates(best=3.0, middle=2.0), {"best", "middle", "quick"})
    plan.uses(alone("best"))
    plan.raced(rates(best=1.0, quick=0.5))
    assert plan.record["best"] == rates(best=3.0)["best"]
    assert plan.next() is None


def test_a_machine_that_cannot_run_any_has_no_plan() -> None:
    assert Plan([Candidate("best", (), 1.0, unusable="no such instructions")], {}, set()).next() is None


@pytest.mark.parametrize("seed", range(30))
def test_however_kernels_turn_out_it_ends_on_the_fastest_that_works(seed: int) -> None:
    draw = random.Random(seed)
    names = [f"k{number}" for number in range(6)]
    some = [Candidate(name, (), draw.uniform(0.1, 3.0), draw.choice([None, None, "no"])) for name in names]
    truth = {name: draw.uniform(0.01, 10.0) for name in names}
    broken = {name for name in names if draw.random() < 0.3}
    plan = Plan(some, {}, set())
    carried_out(plan, truth, broken)
    works = {x.name: truth[x.name] for x in some if x.unusable is None and x.name not in broken}
    fastest = max(works, key=works.__getitem__, default=None)
    # Rates within the noise of each other are equal, and the order decides.
    assert (plan.in_use is None) if fastest is None else plan.in_use
    assert not plan.in_use or works[plan.in_use.single] > 0.97 * works[str(fastest)]
