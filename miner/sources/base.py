"""What every source of work offers, be it a pool, a node or the embedded chain.

A source is a sans-I/O protocol inside a thin asyncio shell. The engine runs it for as long as the miner runs; it
reconnects by itself and says what happens as events. It never decides what is mined: the manager does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from miner.work.events import SourceEvent
from miner.work.share import Share

Post = Callable[[SourceEvent], None]  # called on the event loop only


class SourceError(Exception):
    """Root of what a source raises."""


class SourceMisconfigured(SourceError):
    """Local: an address, URL or option that cannot work; a person must act."""


class SourceMisbehaved(SourceError):
    """Remote: the peer sent what it may not send."""


class SourceUnreachable(SourceError):
    """Transport: no connection, time-out, reset."""


class Source(Protocol):
    """One place that work comes from."""

    @property
    def name(self) -> str:
        """What logs, metrics and the ledger call it: the operator's name for it, or the URL's safe part."""
        ...

    async def run(self, post: Post) -> None:
        """Connect, post events, reconnect; ends when cancelled or after posting SourceFailed.

        What it raises is a defect. It may be run again then; one that cannot begin anew ends at once.
        """
        ...

    def submit(self, share: Share) -> None:
        """Take a share for delivery; called on the event loop, returns at once. Each is answered by one Answered.

        The source computes the share's hash a second time from its own raw message before anything leaves, and
        answers a mismatch itself with Reason.MALFORMED, loudly: it is a defect.
        """
        ...

    async def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for what was submitted to be answered."""
        ...

    async def check(self) -> list[str]:
        """For `miner check`: reach the peer without mining; findings as sentences. Raises SourceError."""
        ...
