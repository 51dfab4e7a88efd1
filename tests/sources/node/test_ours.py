from __future__ import annotations

from miner.sources.node import ours as module
from miner.sources.node.ours import Displaced, OwnBlock, OwnBlocks, Restored


def named(name: str) -> bytes:
    return name.encode().ljust(32, b"\0")


def block(name: str, parent: str, height: int) -> OwnBlock:
    return OwnBlock(named(name), named(parent), height)


CHAIN = [block(f"b{height}", f"b{height - 1}", height) for height in range(101, 106)]  # on b100, which is not ours


def with_chain() -> OwnBlocks:
    ours = OwnBlocks()
    for each in CHAIN:
        ours.taken(each)
    return ours


def test_blocks_that_the_node_builds_on_are_no_news() -> None:
    ours = with_chain()
    assert ours.follow(named("b105"), 106) == []
    assert ours.follow(named("stranger"), 107) == []  # what is below the stranger is not known


def test_every_block_above_the_tip_is_displaced_and_said_once_lowest_first() -> None:
    ours = with_chain()
    assert ours.follow(named("b102"), 103) == [Displaced(each) for each in CHAIN[2:]]
    assert ours.follow(named("b102"), 103) == []
    assert ours.follow(named("b100"), 101) == [Displaced(each) for each in CHAIN[:2]]


def test_blocks_that_become_the_best_chain_again_are_restored() -> None:
    ours = with_chain()
    ours.follow(named("b101"), 102)
    assert ours.follow(named("b104"), 105) == [Restored(each) for each in CHAIN[1:4]]
    assert ours.follow(named("b105"), 106) == [Restored(CHAIN[4])]


def test_a_rival_at_the_same_height_displaces_whoever_found_it() -> None:
    ours = with_chain()
    assert ours.follow(named("stranger"), 106) == [Displaced(CHAIN[4])]
    rival = block("rival", "b103", 104)
    ours.taken(rival)
    assert ours.follow(rival.hash, 105) == [Displaced(CHAIN[3])]
    assert ours.follow(named("b105"), 106) == [Restored(CHAIN[3]), Displaced(rival), Restored(CHAIN[4])]


def test_a_template_that_gives_the_tip_another_height_is_followed_no_further() -> None:
    ours = with_chain()
    assert ours.follow(named("b105"), 109) == []
    assert ours.follow(named("b105"), 104) == [Displaced(each) for each in CHAIN[2:]]


def test_what_is_remembered_is_bounded() -> None:
    ours = OwnBlocks()
    for height in range(module.KEPT_BLOCKS + 50):
        ours.taken(block(f"x{height}", "y", height))
        ours.taken(block(f"x{height}", "y", height))
        ours.follow(named("genesis"), 1)
    assert len(ours._blocks) == len(ours._out) == module.KEPT_BLOCKS
