from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from native.registers import MOVE, Operation
from native.schedule import Template, arrange

from .test_registers import programs

PLAIN = Template(("*",), (16,), window=10, pace=1, margin=0)


def add(*sources: int) -> Operation:
    return Operation("vpaddd", sources)


LOAD = Operation(MOVE, memory="0(%rdi)")
STORE = Operation(MOVE, (0,), "0(%rdi)")


@given(
    programs(),
    st.lists(st.text("rsaulS*n", max_size=6), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 30),
    st.floats(0, 4),
)
def test_every_operation_has_one_place_behind_what_it_reads(
    program: list[Operation], beats: list[str], count: int, window: int, pace: float
) -> None:
    template = Template(tuple(beats), (16,), window=window, pace=pace, margin=1)
    arranged = arrange(program, template, count)
    order = [number for beat in arranged for number in beat if number is not None]
    assert sorted(order) == list(range(len(program)))
    for place, number in enumerate(order):
        assert set(program[number].sources) <= set(order[:place])
    assert len(arranged) == count + 1
    for n, beat in enumerate(arranged[:-1]):
        wanted = beats[n % len(beats)]
        assert beat.count(None) == wanted.count("n")
        assert len(beat) <= len(wanted)


def test_what_is_ready_goes_before_what_has_to_wait() -> None:
    assert arrange([LOAD, add(0), LOAD, LOAD], PLAIN, 4) == [[0], [2], [3], [1], []]
    assert arrange([LOAD, add(0), LOAD, LOAD], replace(PLAIN, pace=0), 4) == [[0], [1], [2], [3], []]


def test_a_letter_takes_its_kind_first_if_there_is_one() -> None:
    program = [LOAD, LOAD, Operation("vpsrld", (0,), immediate=3), add(0), STORE]
    free = replace(PLAIN, pace=0, beats=("*", "a", "S", "s", "l"))
    assert arrange(program, free, 5) == [[0], [3], [4], [2], [1], []]


def test_nothing_is_taken_from_beyond_the_window() -> None:
    program = [LOAD, add(0), add(1), LOAD]
    assert arrange(program, replace(PLAIN, window=2), 2) == [[0], [1], [2, 3]]
    assert arrange(program, PLAIN, 2) == [[0], [3], [1, 2]]


def test_what_finds_no_place_comes_at_the_end_and_nops_stay() -> None:
    assert arrange([LOAD, LOAD, LOAD], replace(PLAIN, beats=("n*", "")), 3) == [[None, 0], [], [None, 1], [2]]


def test_a_margin_leaves_what_depends_on_another_more_time() -> None:
    program = [add(), add(0), LOAD, LOAD]
    assert arrange(program, PLAIN, 3) == [[0], [1], [2], [3]]
    assert arrange(program, replace(PLAIN, margin=1), 3) == [[0], [2], [1], [3]]
