"""The program's text: what it costs, what stands in the parameter block, and what only a job changes."""

from __future__ import annotations

import hashlib
import re
from itertools import product

import pytest

from backends.opencl.worker.source import MIDSTATES, WIDTHS, Form, parameter_words, parameters, search_source
from benchmarks.opencl.roofline import Metal, metal, most_hps, slots_per_hash
from native.symbolic import layout

FORMS = [
    Form(width, midstates, rotate, select)  # type: ignore[arg-type]
    for width, midstates in product(WIDTHS, MIDSTATES)
    for rotate, select in [("function", "logic"), ("shifts", "function")]
]


@pytest.mark.parametrize("midstates", MIDSTATES)
def test_the_text_does_what_was_counted_and_nothing_else(midstates: int) -> None:
    text = search_source(Form(width=8, midstates=midstates))
    done = sum((layout().own for _ in range(midstates)), layout().shared)
    statements = re.findall(r"const word [vw]\S+ = (.*);", text)
    assert len([x for x in statements if x.startswith("ROTATE")]) == done.rotate
    assert len([x for x in statements if x.startswith("CHOOSE")]) == done.choose
    assert len([x for x in statements if x.startswith("MAJORITY")]) == done.majority
    assert len([x for x in statements if " + " in x]) == done.add
    assert len(statements) == done.total


@pytest.mark.parametrize("form", FORMS, ids=[form.name for form in FORMS])
def test_every_name_is_made_before_it_is_used_and_every_parameter_is_in_the_block(form: Form) -> None:
    known: set[str] = set()
    for line in search_source(form).splitlines():
        made = re.match(r"const word ([vw]\d*_?\d+) = (.*);", line)
        assert set(re.findall(r"\b[vw]\d*_?\d+\b", made[2] if made else line)) <= known
        known |= {made[1]} if made else set()
        assert all(int(index) < parameter_words(form) for index in re.findall(r"p\[(\d+)\]", line))


def test_forms_differ_by_name() -> None:
    assert len({form.name for form in FORMS}) == len(set(FORMS)) == len(FORMS)


@pytest.mark.parametrize(
    ("width", "midstates", "group", "batches"), [(3, 1, 64, 1), (1, 3, 64, 1), (1, 1, 48, 1), (1, 1, 64, 0)]
)
def test_what_is_no_form_is_refused(width: int, midstates: int, group: int, batches: int) -> None:
    with pytest.raises(ValueError, match="no such form"):
        Form(width, midstates, group=group, batches=batches)


@pytest.mark.parametrize(
    ("target", "top", "zero"),
    [
        ((1 << 224) - 1, 0, 0xFFFFFFFF),  # difficulty 1 and above: all 32 bits are 0 in every hit
        (0xFFFF << 208, 0, 0xFFFFFFFF),
        (0x1234 << 224, 0x1234, 0x00E0FFFF),  # the top bits, in SHA-256's order of bytes
        ((1 << 256) - 1, 0xFFFFFFFF, 0),
    ],
)
def test_the_target_is_looked_at_in_two_steps_whatever_the_difficulty(target: int, top: int, zero: int) -> None:
    assert parameters(bytes(76), [0], target, 1)[-2:] == [top, zero]


def test_versions_that_are_not_there_repeat_the_last_one() -> None:
    one, two = (parameters(bytes(76), versions, 1, rows) for versions, rows in (([1], 1), ([1, 2], 4)))
    row = layout().target_slot
    assert len(two) == parameter_words(Form(midstates=4))
    assert two[:row] == one[:row] != two[row : 2 * row] == two[2 * row : 3 * row] == two[3 * row : 4 * row]


def test_a_hash_costs_a_graphics_card_no_more_slots_than_the_best_generators_need() -> None:
    assert slots_per_hash("nvidia") <= 1804
    assert slots_per_hash("nvidia", 4) <= 1576
    assert slots_per_hash("gcn") <= 3358
    assert slots_per_hash("gcn5") <= 2956
    assert slots_per_hash("rdna") <= 2564


@pytest.mark.parametrize(
    ("vendor", "name", "units", "capability", "expected"),
    [
        ("NVIDIA Corporation", "NVIDIA GeForce RTX 3090", 82, (8, 6), Metal("nvidia", 82 * 64)),
        ("NVIDIA Corporation", "a card to come", 100, (13, 0), None),
        ("NVIDIA Corporation", "NVIDIA GeForce GTX 1080", 20, (6, 1), None),
        ("Advanced Micro Devices, Inc.", "Tahiti", 32, None, Metal("gcn", 32 * 64)),
        ("Advanced Micro Devices, Inc.", "gfx906:sramecc+:xnack-", 60, None, Metal("gcn5", 60 * 64)),
        ("Advanced Micro Devices, Inc.", "gfx1030", 36, None, Metal("rdna", 72 * 64)),
        ("Intel(R) Corporation", "Intel(R) Arc(TM) A770", 512, None, None),
    ],
)
def test_lanes_are_told_from_what_the_driver_says_or_not_at_all(
    vendor: str, name: str, units: int, capability: tuple[int, int] | None, expected: Metal | None
) -> None:
    assert metal(vendor, name, units, capability) == expected


@pytest.mark.parametrize(
    ("card", "clock_hz", "published_hps"),
    [(Metal("gcn", 2048), 925e6, 564e6), (Metal("nvidia", 82 * 64), 1.695e9, 4931e6)],
    ids=["HD 7970", "RTX 3090"],
)
def test_rooflines_are_what_arithmetic_makes_of_published_clocks(
    card: Metal, clock_hz: float, published_hps: float
) -> None:
    assert most_hps(card, clock_hz) == pytest.approx(published_hps, rel=0.001)


def test_the_text_is_the_same_today_and_tomorrow() -> None:
    digests = {hashlib.sha256(search_source(Form(midstates=2)).encode()).digest() for _ in range(3)}
    assert len(digests) == 1
