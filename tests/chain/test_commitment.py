from __future__ import annotations

from typing import Any

import pytest

from miner.chain import (
    HashError,
    MerkleError,
    find_commitment,
    from_display,
    is_commitment,
    sha256d,
    witness_commitment,
)

EMPTY = witness_commitment([])


@pytest.mark.golden("gbt")
def test_the_commitment_is_the_one_the_node_computed(vector: dict[str, Any]) -> None:
    wtxids = [from_display(entry["hash"]) for entry in vector["template"]["transactions"]]
    assert witness_commitment(wtxids).hex() == vector["template"]["default_witness_commitment"]


@pytest.mark.golden("witness_commitment")
def test_a_block_of_only_a_coinbase_has_the_known_commitment(vector: dict[str, Any]) -> None:
    assert EMPTY.hex() == vector["script"]


def test_the_last_output_that_looks_like_a_commitment_is_the_one() -> None:
    other = witness_commitment([sha256d(b"x")])
    assert find_commitment([b"\x51", EMPTY, other, b"\x6a"]) == other
    assert find_commitment([b"\x51", b"\x6a"]) is None


def test_a_commitment_may_be_longer_but_not_shorter_than_38_bytes() -> None:
    assert is_commitment(EMPTY + b"\x04\xec\xc7\xda\xa2")
    assert not is_commitment(EMPTY[:-1])
    assert not is_commitment(b"\x6a" + EMPTY)


def test_repeated_or_short_wtxids_are_refused() -> None:
    with pytest.raises(MerkleError):
        witness_commitment([sha256d(b"x"), sha256d(b"x")])
    with pytest.raises(HashError):
        witness_commitment([b"short"])
