r"""Merkle trees of a block: the root over all hashes, and the branch that lets the coinbase change alone.

          root                The coinbase is leaf 0. Its branch is the nodes marked *: with them, one hash a level
         /    \               leads from any coinbase txid to the root.
       o        *
      / \      / \            A level of odd length repeats its last node, so some lists with repeated leaves share
    cb   *    o   o           a root with lists without (CVE-2012-2459): repeats are refused.

All hashes are 32 bytes in header order.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from miner.chain.errors import MerkleError
from miner.chain.hashes import HASH_SIZE, display, require_hash


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The root over txids (or wtxids) in block order.

    Raises MerkleError when there is no leaf or a leaf repeats, HashError when one is not 32 bytes.
    """
    if not leaves:
        raise MerkleError("a block without transactions has no merkle root")
    _refuse_repeats(leaves)
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def merkle_branch(others: Sequence[bytes]) -> tuple[bytes, ...]:
    """The branch of leaf 0, whatever that will be, from the txids of leaves 1, 2, ...; empty if there are none.

    Raises MerkleError when a leaf repeats, HashError when one is not 32 bytes.
    """
    _refuse_repeats(others)
    branch = []
    level = list(others)  # without its first node, the unknown one
    while level:
        branch.append(level[0])
        # With the unknown node the count is one more: what is left over after taking its sibling must pair up.
        level = _parents(level[1:])
    return tuple(branch)


def fold(branch: Sequence[bytes], leaf: bytes) -> bytes:
    """The root, from the branch of leaf 0 and that leaf: sha256d(leaf + sibling), level by level.

    Raises HashError when the leaf or an entry of the branch is not 32 bytes.
    """
    node = require_hash(leaf)
    for sibling in branch:  # a lease each: this loop is most of what leasing costs
        if len(sibling) != HASH_SIZE:
            require_hash(sibling)
        node = sha256(sha256(node + sibling).digest()).digest()
    return node


def _parents(level: list[bytes]) -> list[bytes]:
    padded = level + level[-1:] if len(level) % 2 else level
    return [sha256(sha256(padded[i] + padded[i + 1]).digest()).digest() for i in range(0, len(padded), 2)]


def _refuse_repeats(leaves: Sequence[bytes]) -> None:
    seen: set[bytes] = set()
    for leaf in leaves:
        if require_hash(leaf) in seen:
            raise MerkleError(f"transaction {display(leaf)} stands twice in the block")
        seen.add(leaf)
