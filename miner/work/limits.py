"""When a run ends by itself."""

from __future__ import annotations

from dataclasses import dataclass

from .events import Finish


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a run; None: no limit."""

    blocks: int | None = None  # accepted
    shares: int | None = None  # accepted
    seconds: float | None = None  # of mining

    @property
    def any(self) -> bool:
        """Whether any limit is set."""
        return self.blocks is not None or self.shares is not None or self.seconds is not None

    def enough_blocks(self, blocks: int) -> bool:
        """Whether so many, were all of them accepted, are all that is wanted."""
        return self.blocks is not None and blocks >= self.blocks

    def reached(self, *, blocks: int, shares: int, mined_s: float) -> Finish | None:
        """Return Finish if one of the limits is reached."""
        if self.enough_blocks(blocks):
            return Finish(ok=True, reason=f"{blocks} blocks accepted")
        if self.shares is not None and shares >= self.shares:
            return Finish(ok=True, reason=f"{shares} shares accepted")
        if self.seconds is not None and mined_s >= self.seconds:
            return Finish(ok=True, reason=f"mined for {self.seconds:g} seconds")
        return None
