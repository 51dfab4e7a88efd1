"""What keeps power from being known; hashing goes on without."""

from __future__ import annotations


class PowerError(Exception):
    """Root of what this package raises; the message is for the operator."""


class Unreadable(PowerError):
    """A meter or sensor cannot be read, with what would change that."""


class Nonsense(PowerError):
    """A meter answered, with something that no meter means."""


class MissingLibrary(PowerError):
    """A meter needs a library that is not installed."""
