"""A private regtest chain in this process: real proof of work, real validation, worthless coins."""

from .pacing import paced_target
from .source import EmbeddedSource

__all__ = ["EmbeddedSource", "paced_target"]
