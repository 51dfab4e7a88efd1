"""Finds sources that are left behind: they still extend a block that another source has moved on from.

A pool whose node hangs keeps sending jobs, accepts every share for them, and none of its blocks can win. It shows only
beside another source of the same chain:

    tip of A:  X ------------------------------------------>   behind, from BEHIND_S after B left X until A leaves it
    tip of B:  X ----------> Y --------------------------->

Two sources on rival blocks are not behind each other: neither was on the other's block. Who returns to a block has not
moved on from it, and one that falls back so leaves nobody else behind. Chains that share no block never meet here.
No clock: seconds on the manager's.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

BEHIND_S = 60.0  # honest pools follow each other within seconds
_LEFT = 64  # blocks remembered that a source moved on from, besides those that others are still on


@dataclass(slots=True)
class Tips:
    """Which block each source extends, and which it has moved on from."""

    _on: dict[str, bytes] = field(default_factory=dict)  # source -> previous block's hash
    _left: dict[str, OrderedDict[bytes, float]] = field(default_factory=dict)  # source -> block -> when, oldest first

    def saw(self, source: str, prev_hash: bytes, now: float) -> None:
        """The source sent a job on this block."""
        before = self._on.get(source)
        if before == prev_hash:
            return
        self._on[source] = prev_hash
        if before is None:
            return
        left = self._left.setdefault(source, OrderedDict())
        left[before] = now
        while prev_hash in left:  # the source is back on this block: it did not move on from there
            left.popitem()
        if len(left) > _LEFT:
            tips = set(self._on.values())
            oldest = next((block for block in left if block not in tips), None)
            if oldest is not None:
                del left[oldest]

    def forget(self, source: str) -> None:
        """Forget a source that was taken out. A source that comes back under its name may be on another chain."""
        self._on.pop(source, None)
        self._left.pop(source, None)

    def behind(self, source: str, now: float) -> bool:
        """Whether the source extends a block that another source left at least BEHIND_S ago."""
        tip = self._on.get(source)
        return tip is not None and any(now - left.get(tip, now) >= BEHIND_S for left in self._left.values())
