from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import HashError, MerkleError, display, fold, from_display, merkle_branch, merkle_root, sha256d

LEAVES = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70, unique=True)
A, B, C = (sha256d(name) for name in (b"a", b"b", b"c"))


@pytest.mark.golden("merkle")
def test_roots_and_branches_are_those_on_record(vector: dict[str, Any]) -> None:
    txids = [from_display(txid) for txid in vector["txids"]]
    assert display(merkle_root(txids)) == vector["root"]
    assert merkle_root(txids).hex() == vector["root_header_bytes"]
    branch = merkle_branch(txids[1:])
    assert [node.hex() for node in branch] == vector["stratum_branch"]
    assert fold(branch, txids[0]).hex() == vector["root_header_bytes"]


@pytest.mark.golden("stratum_v1_merkle")
def test_a_pools_branch_leads_from_its_coinbase_to_the_root(vector: dict[str, Any]) -> None:
    coinbase = "".join(vector[part] for part in ("coinb1", "extranonce1", "extranonce2", "coinb2"))
    txid = sha256d(bytes.fromhex(coinbase))
    assert display(txid) == vector["coinbase_txid"]
    assert fold([bytes.fromhex(node) for node in vector["branches"]], txid).hex() == vector["merkle_root_header_bytes"]


@given(LEAVES)
def test_folding_the_branch_gives_the_root_for_every_number_of_leaves(leaves: list[bytes]) -> None:
    branch = merkle_branch(leaves[1:])
    assert fold(branch, leaves[0]) == merkle_root(leaves)
    assert len(branch) == (len(leaves) - 1).bit_length()


def test_a_lone_coinbase_is_its_own_root() -> None:
    assert merkle_root([A]) == A
    assert merkle_branch([]) == ()
    assert fold([], A) == A


def test_a_list_whose_root_equals_that_of_a_shorter_list_is_refused() -> None:
    ambiguous = sha256d(sha256d(A + B) + sha256d(C + C))
    assert merkle_root([A, B, C]) == ambiguous
    with pytest.raises(MerkleError, match=display(C)):
        merkle_root([A, B, C, C])
    with pytest.raises(MerkleError, match=display(C)):
        merkle_branch([B, C, C])


def test_a_block_without_transactions_has_no_root() -> None:
    with pytest.raises(MerkleError):
        merkle_root([])


@pytest.mark.parametrize("short", [b"", bytes(31), bytes(33)], ids=len)
def test_only_32_byte_hashes_enter_a_tree(short: bytes) -> None:
    with pytest.raises(HashError):
        merkle_root([short])
    with pytest.raises(HashError):
        merkle_branch([A, short])
    with pytest.raises(HashError):
        fold([short], A)
    with pytest.raises(HashError):
        fold([], short)
