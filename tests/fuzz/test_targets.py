"""What the fuzzer begins with passes everywhere, and so does what is one mistake away from it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import NAMES
from tests.fuzz.targets import TARGETS

_damage = st.lists(st.tuples(st.integers(0, 1 << 13), st.binary(max_size=3), st.integers(0, 3)), max_size=4)


def damaged(seed: bytes, blows: list[tuple[int, bytes, int]]) -> bytes:
    for where, put, cut in blows:
        at = where % (len(seed) + 1)
        seed = seed[:at] + put + seed[at + cut :]
    return seed


def test_the_fuzzer_knows_every_target() -> None:
    assert sorted(TARGETS) == list(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_passes(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60)
@given(data=st.data())
def test_nothing_that_is_nearly_right_escapes(name: str, data: st.DataObject) -> None:
    target = TARGETS[name]
    target.run(damaged(data.draw(st.sampled_from(target.seeds)), data.draw(_damage)))
