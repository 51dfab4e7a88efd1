from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import DIFFICULTY_ONE, MAX_TARGET, HashError, Target, TargetError, difficulty_of, from_display

GENESIS_HASH = from_display("000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f")
TARGETS = st.integers(0, 256).flatmap(lambda bits: st.integers(1, max(1, (1 << bits) - 1))).map(Target)
DIFFICULTIES = st.floats(min_value=5e-324, max_value=1e300)


@pytest.mark.golden("compact_targets", where=lambda entry: entry.get("valid_as_pow_target") is True)
def test_compact_targets_decode_as_core_decodes_them(vector: dict[str, Any]) -> None:
    assert str(Target.from_nbits(int(vector["nbits"], 16))) == vector["target"]


@pytest.mark.golden("compact_targets", where=lambda entry: entry.get("valid_as_pow_target") is False)
def test_compact_targets_that_core_refuses_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(TargetError, match=vector["nbits"]):
        Target.from_nbits(int(vector["nbits"], 16))


@pytest.mark.golden(
    "compact_targets", where=lambda entry: "canonical_nbits" in entry and entry.get("valid_as_pow_target", True)
)
def test_targets_encode_as_core_encodes_them(vector: dict[str, Any]) -> None:
    target = Target(int(vector.get("encode_target") or vector["target"], 16))
    assert f"{target.to_nbits():08x}" == vector["canonical_nbits"]


@pytest.mark.golden("compact_targets", where=lambda entry: entry.get("difficulty") is not None)
def test_difficulty_of_a_target_is_the_one_on_record(vector: dict[str, Any]) -> None:
    target = Target.from_nbits(int(vector["nbits"], 16))
    assert target.difficulty == pytest.approx(vector["difficulty"], rel=1e-12)


@pytest.mark.golden("difficulty_to_target")
def test_a_pools_difficulty_becomes_the_exact_target(vector: dict[str, Any]) -> None:
    assert str(Target.from_difficulty(vector["difficulty"])) == vector["target"]


@pytest.mark.parametrize(
    ("nbits", "reason"),
    [(0x01FEDCBA, "negative"), (0xFF123456, "256 bits"), (0x00123456, "zero"), (1 << 32, "32 bits")],
)
def test_the_reason_of_a_refusal_is_named(nbits: int, reason: str) -> None:
    with pytest.raises(TargetError, match=reason):
        Target.from_nbits(nbits)


@given(TARGETS)
def test_encoding_never_makes_a_target_easier_and_loses_less_than_one_part_in_32768(target: Target) -> None:
    decoded = Target.from_nbits(target.to_nbits())
    assert decoded <= target
    assert (target.value - decoded.value) << 15 < target.value
    assert decoded.to_nbits() == target.to_nbits()


@given(st.integers(0, 0xFFFFFFFF))
def test_any_nbits_is_a_target_or_a_target_error(nbits: int) -> None:
    try:
        target = Target.from_nbits(nbits)
    except TargetError:
        return
    assert Target.from_nbits(target.to_nbits()) == target


def test_a_hash_equal_to_the_target_counts_and_one_above_does_not() -> None:
    target = Target.from_nbits(0x1A44B9F2)
    assert target.met_by(target.value.to_bytes(32, "little"))
    assert not target.met_by((target.value + 1).to_bytes(32, "little"))


def test_the_hash_is_read_least_significant_byte_first() -> None:
    assert Target.from_nbits(0x1D00FFFF).met_by(GENESIS_HASH)
    assert not Target.from_nbits(0x1D00FFFF).met_by(GENESIS_HASH[::-1])


@given(DIFFICULTIES)
def test_harder_difficulty_never_gives_an_easier_target(difficulty: float) -> None:
    assert Target.from_difficulty(difficulty * 2) <= Target.from_difficulty(difficulty)


@given(DIFFICULTIES)
def test_target_is_the_largest_that_is_at_least_as_hard_as_the_difficulty(difficulty: float) -> None:
    value = Target.from_difficulty(difficulty).value
    exact = Fraction(difficulty)
    assert value == 1 or DIFFICULTY_ONE / Fraction(value) >= exact
    assert value == MAX_TARGET or DIFFICULTY_ONE / Fraction(value + 1) < exact


def test_difficulties_beyond_the_range_of_hashes_are_clamped() -> None:
    assert Target.from_difficulty(5e-324) == Target(2**256 - 1)
    assert Target.from_difficulty(1e300) == Target(1)
    assert Target.from_difficulty(10**400) == Target(1)


def test_a_fraction_is_a_difficulty() -> None:
    assert Target.from_difficulty(Fraction(1, 3)).value == 3 * DIFFICULTY_ONE


@pytest.mark.parametrize(
    "difficulty", [math.nan, math.inf, -math.inf, 0, 0.0, -0.0, -1, -1e-9, True, "8", None, [1], {}], ids=repr
)
def test_what_is_no_difficulty_is_refused(difficulty: Any) -> None:
    with pytest.raises(TargetError):
        Target.from_difficulty(difficulty)


@pytest.mark.parametrize("value", [-1, 0, 1 << 256])
def test_a_target_is_between_1_and_the_greatest_hash(value: int) -> None:
    with pytest.raises(TargetError):
        Target(value)


@given(TARGETS)
def test_a_hash_at_the_target_has_the_targets_difficulty(target: Target) -> None:
    assert difficulty_of(target.value.to_bytes(32, "little")) == target.difficulty


def test_the_zero_hash_has_a_finite_difficulty() -> None:
    assert difficulty_of(bytes(32)) == float(DIFFICULTY_ONE)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_32_bytes_are_compared_with_a_target(size: int) -> None:
    with pytest.raises(HashError):
        Target(1).met_by(bytes(size))
    with pytest.raises(HashError):
        difficulty_of(bytes(size))
