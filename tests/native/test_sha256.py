from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import native
from backends import kernels
from native import sha256

PRIMES = [n for n in range(2, 312) if all(n % d for d in range(2, n))]


def integer_root(number: int, degree: int) -> int:
    low, high = 0, 1 << 40
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**degree <= number else (low, middle)
    return low


def test_round_constants_are_the_fractions_of_cube_roots_of_primes() -> None:
    assert tuple(integer_root(prime << 96, 3) & sha256.MASK for prime in PRIMES) == sha256.K


def test_initial_state_is_the_fractions_of_square_roots_of_primes() -> None:
    assert tuple(integer_root(prime << 64, 2) & sha256.MASK for prime in PRIMES[:8]) == sha256.IV


@given(st.binary(min_size=55, max_size=55))
def test_one_block_is_what_hashlib_says(message: bytes) -> None:
    block = message + b"\x80" + (55 * 8).to_bytes(8, "big")
    digest = struct.pack(">8I", *sha256.compress(sha256.Integers(), sha256.IV, sha256.words(block)))
    assert digest == hashlib.sha256(message).digest()


@given(st.binary(min_size=64, max_size=64), st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
def test_compiled_midstates_are_those_of_the_definition(
    cache: kernels.KernelCache, prefix: bytes, versions: list[int]
) -> None:
    states = native.midstates(prefix, versions, cache.folder_for("midstates"))
    assert states.shape == (len(versions), 8)
    for version, state in zip(versions, states, strict=True):
        assert state.tolist() == sha256.midstate(struct.pack("<I", version) + prefix[4:])


def test_midstates_of_published_headers(cache: kernels.KernelCache, vectors: dict[str, Any]) -> None:
    assert vectors["midstate"]
    for vector in vectors["midstate"]:
        prefix = bytes.fromhex(vector["header_first64"])
        version = int.from_bytes(prefix[:4], "little")
        assert (
            native.midstates(prefix, [version], cache.folder_for("midstates")).astype(">u4").tobytes().hex()
            == vector["midstate_be_words"]
        )


@pytest.mark.parametrize(("size", "versions"), [(63, [1]), (64, []), (64, [-1]), (64, [1, 1 << 32])])
def test_midstates_refuse_what_is_no_header(cache: kernels.KernelCache, size: int, versions: list[int]) -> None:
    with pytest.raises(ValueError, match=r"needed|versions"):
        native.midstates(bytes(size), versions, cache.folder_for("midstates"))
