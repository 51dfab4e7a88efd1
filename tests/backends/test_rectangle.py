from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from backends.base import NONCES
from backends.rectangle import Position, subsets, versions
from backends.testing import Template

WORK = Template(version=0x20000000).lease(0)


@given(st.lists(st.sampled_from([0, 1, 5, 13, 28, 31]), max_size=5, unique=True))
def test_every_version_of_the_lease_comes_once_its_own_first(bits: list[int]) -> None:
    work = replace(WORK, version_mask=sum(1 << bit for bit in bits))
    walked = list(versions(work))
    assert walked[0] == work.version
    assert len(walked) == len(set(walked)) == 1 << len(bits)
    assert all(work.covers(0, version, work.ntime) for version in walked)


def test_versions_end_after_their_last_nonce_and_the_lease_after_its_last_version() -> None:
    position = Position(replace(WORK, version_mask=0b11), together=3)
    first = position.versions
    position.advance(NONCES - 1)
    assert (position.versions, position.nonce) == (first, NONCES - 1)
    position.advance(1)
    assert (position.versions, position.nonce) == ((WORK.version | 0b11,), 0)
    position.advance(NONCES)
    assert position.versions == ()


def test_without_version_bits_the_version_of_the_work_is_all_there_is() -> None:
    position = Position(replace(WORK, version_mask=0), together=16)
    assert position.versions == (WORK.version,)


@given(bits=st.sets(st.integers(0, 31), max_size=8))
def test_every_value_under_a_mask_comes_once_and_rising(bits: set[int]) -> None:
    mask = sum(1 << bit for bit in bits)
    values = list(subsets(mask))
    assert values == sorted(set(values))
    assert len(values) == 1 << len(bits)
    assert all(value & ~mask == 0 for value in values)
