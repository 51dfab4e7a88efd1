"""Which of our accepted blocks the node builds on, as far as its templates show it. No clock, no I/O.

    taken(block)       the node accepted it: it is part of the node's chain
    follow(template)   the node builds on this tip: what that says about our blocks

A template names the tip and the height of the next block. From the tip the chain is followed down through our own
blocks, by their parents. Our blocks on that way are in the chain. Our other blocks at those heights, and all of ours
above the tip, are not. About blocks below the first one of somebody else a template says nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

KEPT_BLOCKS = 100  # the oldest is forgotten; deeper reorganisations do not happen


@dataclass(frozen=True, slots=True)
class OwnBlock:
    """A block of ours. Hashes in header order."""

    hash: bytes
    parent: bytes
    height: int


@dataclass(frozen=True, slots=True)
class Displaced:
    """Effect: tell that the node does not build on this block any more."""

    block: OwnBlock


@dataclass(frozen=True, slots=True)
class Restored:
    """Effect: tell that the node builds on this block again."""

    block: OwnBlock


class OwnBlocks:
    """The blocks of ours that one node accepted."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, OwnBlock] = OrderedDict()
        self._out: set[bytes] = set()

    def taken(self, block: OwnBlock) -> None:
        """Remember a block that the node accepted, or that it called a duplicate."""
        if block.hash in self._blocks:
            return
        self._blocks[block.hash] = block
        if len(self._blocks) > KEPT_BLOCKS:
            forgotten, _ = self._blocks.popitem(last=False)
            self._out.discard(forgotten)

    def follow(self, tip: bytes, height: int) -> list[Displaced | Restored]:
        """Take the tip of a template and the height of the block that it is for; return what has changed."""
        chain: set[bytes] = set()
        while (block := self._blocks.get(tip)) is not None and block.height == height - 1:
            chain.add(block.hash)
            tip, height = block.parent, block.height
        # Now `tip`, at `height` - 1, is the first block of somebody else.
        effects: list[Displaced | Restored] = []
        for block in sorted(self._blocks.values(), key=lambda block: block.height):
            if block.hash in chain and block.hash in self._out:
                self._out.discard(block.hash)
                effects.append(Restored(block))
            elif block.hash not in chain and block.height >= height - 1 and block.hash not in self._out:
                self._out.add(block.hash)
                effects.append(Displaced(block))
        return effects
