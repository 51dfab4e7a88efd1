"""What to log of found blocks that are not handed in, or whose answer nobody awaits.

Each such block is named by height and hash. On a chain where every other hash solves a block, thousands are withheld
each second; there only the first of a kind are named, and the rest are counted:

    dropped --> one of the first BURST of its kind: a line of its own
            --> otherwise counted; after a pause one line names the last of them and says how many more there were

The pause begins at PAUSE_S and doubles up to PAUSE_LONGEST_S while blocks of that kind keep coming. A kind is the log
event, the source and the reason.

    DroppedBlocks     decides; time comes in as `now`, seconds on a monotonic clock
    DroppedBlockLog   the shell around it: a clock, a lock and the log
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from miner.work.events import BlockDropped

log = structlog.get_logger(__name__)

BURST = 4  # blocks of one kind that are named one by one
PAUSE_S, PAUSE_LONGEST_S = 10.0, 600.0


@dataclass(frozen=True, slots=True)
class Line:
    """Log this block; `more` others of its kind were not named since the last line."""

    block: BlockDropped
    more: int = 0


@dataclass(slots=True)
class _Kind:
    due: float  # when the next line may be written
    pause_s: float = PAUSE_S
    named: int = 0  # lines without a pause between them
    last: BlockDropped | None = None  # not named yet
    count: int = 0  # blocks not named yet


class DroppedBlocks:
    """Decides which blocks are named; call it in one thread at a time."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str, str], _Kind] = {}

    def dropped(self, block: BlockDropped, now: float) -> list[Line]:
        """Take one block; return what to log now."""
        key = (block.fate, block.source, block.reason)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind(due=now + PAUSE_S)
        if kind.named < BURST:
            kind.named += 1
            return [Line(block)]
        kind.last = block
        kind.count += 1
        return []

    def tick(self, now: float) -> list[Line]:
        """Return the lines that are due; a kind without any block during its pause begins anew."""
        lines: list[Line] = []
        for key, kind in list(self._kinds.items()):
            if now < kind.due:
                continue
            if kind.last is None:
                del self._kinds[key]
                continue
            lines += self._summary(kind)
            kind.pause_s = min(2 * kind.pause_s, PAUSE_LONGEST_S)
            kind.due = now + kind.pause_s
        return lines

    def flush(self) -> list[Line]:
        """Return the lines that are left at the end, due or not."""
        return [line for kind in self._kinds.values() for line in self._summary(kind)]

    def _summary(self, kind: _Kind) -> list[Line]:
        if kind.last is None:
            return []
        line = Line(kind.last, more=kind.count - 1)
        kind.last, kind.count = None, 0
        return [line]


class DroppedBlockLog:
    """Logs what DroppedBlocks decides. Any thread may call it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._blocks = DroppedBlocks()
        self._lock = threading.Lock()

    def tell(self, block: BlockDropped) -> None:
        """Log this block now, or count it for a later line."""
        with self._lock:
            lines = self._blocks.dropped(block, self._clock())
        _write(lines)

    def tick(self) -> None:
        """Log what is due; call it every second or more often."""
        with self._lock:
            lines = self._blocks.tick(self._clock())
        _write(lines)

    def flush(self) -> None:
        """Log what is left at the end."""
        with self._lock:
            lines = self._blocks.flush()
        _write(lines)


def _write(lines: Iterable[Line]) -> None:
    for line in lines:
        block = line.block
        log.warning(
            block.fate.value,
            source=block.source,
            height=block.height,
            block=f"{block.hash:064x}",
            device=block.device,
            reason=block.reason,
            **({"more": line.more} if line.more else {}),
        )
