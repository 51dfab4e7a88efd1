"""Who is left behind: a source that still extends a block which another source has moved on from.

A pool whose node hangs keeps sending jobs, accepts every share for them, and none of its blocks can win. It shows only
beside another source of the same chain:

    tip of A:  X ------------------------------------------>   behind, from BEHIND_S after B left X until A leaves it
    tip of B:  X ----------> Y --------------------------->

Two sources on rival blocks are not behind each other: neither was on the other's block. Chains that share no block
never meet here. No clock: seconds on the manager's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

BEHIND_S = 60.0  # honest pools follow each other within seconds
_LEFT = 64  # blocks remembered that somebody moved on from


@dataclass(slots=True)
class Tips:
    """Which block each source extends, and since when a block is left."""

    _on: dict[str, bytes] = field(default_factory=dict)  # source -> previous block's hash
    _left: OrderedDict[bytes, float] = field(default_factory=OrderedDict)  # block -> when it was first left

    def saw(self, source: str, prev_hash: bytes, now: float) -> None:
        """The source sent a job on this block."""
        before = self._on.get(source)
        if before == prev_hash:
            return
        self._on[source] = prev_hash
        if before is None:
            return
        self._left.pop(prev_hash, None)  # somebody came back to it: the way on from there was none
        self._left.setdefault(before, now)
        if len(self._left) > _LEFT:
            self._left.popitem(last=False)

    def forget(self, source: str) -> None:
        """The source was taken out; one that comes back under its name may be on another chain."""
        self._on.pop(source, None)

    def behind(self, source: str, now: float) -> bool:
        """Whether it extends a block that another left long enough ago."""
        tip = self._on.get(source)
        left_at = None if tip is None else self._left.get(tip)
        return left_at is not None and now - left_at >= BEHIND_S
