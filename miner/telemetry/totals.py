"""Counts of the whole run, over all sources and devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from .snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Totals:
    """What the screen, the status line and the summary add up."""

    submitted: int
    accepted: int
    rejected: int  # stale ones not included
    stale: int
    blocks_accepted: int
    blocks_rejected: int
    hardware_errors: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> Self:
        """Add up a snapshot."""
        sources = snapshot.sources
        return cls(
            submitted=sum(source.submitted for source in sources),
            accepted=sum(source.accepted for source in sources),
            rejected=sum(sum(source.rejected.values()) for source in sources),
            stale=sum(source.stale for source in sources),
            blocks_accepted=sum(source.blocks_accepted for source in sources),
            blocks_rejected=sum(source.blocks_rejected for source in sources),
            hardware_errors=sum(device.hardware_errors for device in snapshot.devices),
        )
