"""The search for templates, with a timer that knows what is good."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.cpu.templates import Tuned
from backends.cpu.tuning import Tuning, changed, drawn
from native.schedule import Template
from native.scheduled import MANY, ONE


def from_perfect(template: Template) -> float:
    """Seconds that grow with how far a template is from an imagined best one."""
    wrong = abs(len(template.beats) - 2) + abs(template.window - 50) / 10 + abs(template.margin - 3) + template.low
    return 1.0 + wrong + sum(abs(beat.count("n") - 1) + abs(len(beat) - 3) for beat in template.beats)


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_its_way_to_what_is_fast(seed: int) -> None:
    tuning = Tuning([ONE, MANY], from_perfect, Random(seed))
    began = tuning.best_s
    for _ in range(600):
        tuning.step()
    assert tuning.best_s == from_perfect(tuning.best) < 1.5 < began
    assert 300 < tuning.tried <= 602


def test_it_begins_with_the_best_that_is_known() -> None:
    assert Tuning([ONE, MANY], from_perfect, Random(0)).best == min(ONE, MANY, key=from_perfect)


def test_a_lucky_measurement_does_not_win() -> None:
    timed: set[Template] = {ONE}

    def lucky_once(template: Template) -> float:
        first, _ = template not in timed, timed.add(template)
        return 0.5 if first else 1.0

    tuning = Tuning([ONE], lucky_once, Random(1))
    assert not any(tuning.step() for _ in range(50))
    assert (tuning.best, tuning.best_s) == (ONE, 1.0)


def test_what_cannot_be_printed_is_passed_over() -> None:
    def refuses(template: Template) -> float:
        if template != ONE:
            raise ValueError("no memory to spill to")
        return 1.0

    tuning = Tuning([ONE], refuses, Random(1))
    assert not any(tuning.step() for _ in range(20))
    assert tuning.best == ONE


@given(st.integers())
def test_all_that_is_tried_can_be_remembered(seed: int) -> None:
    random = Random(seed)
    template = drawn(random)
    for _ in range(20):
        template = changed(template, random)
        Tuned(one=template, many=template)


def test_everything_about_a_template_is_tried() -> None:
    random = Random(3)
    for field in ("beats", "groups", "window", "pace", "margin", "low"):
        assert any(getattr(changed(ONE, random), field) != getattr(ONE, field) for _ in range(200)), field
    assert all(replace(changed(ONE, random)).beats for _ in range(200))
