from __future__ import annotations

from dataclasses import replace

from structlog.testing import capture_logs

from miner.engine.dropped_blocks import BURST, PAUSE_LONGEST_S, PAUSE_S, DroppedBlockLog, DroppedBlocks, Line
from miner.work.events import BlockDropped, Fate

BLOCK = BlockDropped(Fate.WITHHELD, "node", "cpu:0", 101, 7, "another one was handed in")


def block(number: int, fate: Fate = Fate.WITHHELD, source: str = "node") -> BlockDropped:
    return replace(BLOCK, fate=fate, source=source, hash=number)


def test_the_first_blocks_of_a_kind_are_named_at_once_and_the_others_are_counted() -> None:
    blocks = DroppedBlocks()
    named = [line for number in range(BURST + 413) for line in blocks.dropped(block(number), 0.0)]
    assert named == [Line(block(number)) for number in range(BURST)]
    assert blocks.tick(PAUSE_S - 0.1) == []
    assert blocks.tick(PAUSE_S) == [Line(block(BURST + 412), more=412)]
    assert blocks.tick(PAUSE_S + 0.1) == []


def test_kinds_do_not_hide_each_other() -> None:
    blocks = DroppedBlocks()
    for number in range(BURST + 9):
        blocks.dropped(block(number), 0.0)
    for other in (block(1, Fate.LOST), block(1, source="spare"), replace(block(1), reason="another one")):
        assert blocks.dropped(other, 0.0) == [Line(other)]


def test_lines_become_rarer_while_blocks_keep_coming_and_none_is_uncounted() -> None:
    blocks, times, told, now = DroppedBlocks(), [], 0, 0.0
    for number in range(36_000):
        now = number / 10
        lines = [*blocks.dropped(block(number), now), *blocks.tick(now)]
        times += [now] * len(lines)
        told += sum(1 + line.more for line in lines)
    assert told + sum(1 + line.more for line in blocks.flush()) == 36_000
    assert times[BURST:][:4] == [PAUSE_S, 3 * PAUSE_S, 7 * PAUSE_S, 15 * PAUSE_S]
    assert times[-1] - times[-2] == PAUSE_LONGEST_S


def test_a_kind_that_was_quiet_for_a_pause_is_named_again_and_takes_no_room() -> None:
    blocks = DroppedBlocks()
    blocks.dropped(block(1), 0.0)
    assert blocks.tick(PAUSE_S) == []
    assert not blocks._kinds
    assert [blocks.dropped(block(number), PAUSE_S) for number in range(BURST)] == [
        [Line(block(number))] for number in range(BURST)
    ]


def test_the_log_names_a_block_as_block_explorers_do() -> None:
    now = 0.0
    told = DroppedBlockLog(lambda: now)
    with capture_logs() as logged:
        for number in range(1, BURST + 3):
            told.tell(block(number))
        now = PAUSE_S
        told.tick()
        told.tell(block(99))
        told.flush()
    assert logged[0] == {
        "event": "block_withheld",
        "log_level": "warning",
        "source": "node",
        "height": 101,
        "block": f"{1:064x}",
        "device": "cpu:0",
        "reason": "another one was handed in",
    }
    assert [(line["block"][-2:], line.get("more")) for line in logged[BURST:]] == [("06", 1), ("63", None)]
