"""What the work manager raises: local misuse only. What peers and devices do wrong is an event, not an error."""

from __future__ import annotations


class WorkError(Exception):
    """Root of what miner.work raises."""


class UnknownSource(WorkError):
    """An event names a source that was not configured: a defect on our side."""
