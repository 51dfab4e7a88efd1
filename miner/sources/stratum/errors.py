"""What the parts of this package raise among themselves; nothing of it leaves the source but as SourceError."""

from __future__ import annotations

from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured


class StratumMisbehaved(SourceMisbehaved):
    """Remote: root of what a pool may not send."""


class BadLine(StratumMisbehaved):
    """A line that is no JSON object, or one that no honest pool sends."""


class FloodOfBytes(StratumMisbehaved):
    """More bytes without a line's end than the longest honest message has: there is no way to go on."""


class BadMessage(StratumMisbehaved):
    """A JSON object whose fields are not what its method asks for."""


class BadJob(StratumMisbehaved):
    """A notify that is well-formed, and no work: its target or its size cannot be, or it does not pay as it must."""


class OddCoinbase(StratumMisbehaved):
    """A coinbase that cannot be read, and why. Its job is mined all the same, unless it must be proved to pay."""


class LineTooLong(SourceMisconfigured):
    """Local: a message of ours that some pools answer by closing the connection."""


class ShareUnsound(SourceError):
    """Local: a share whose submitted fields do not give the hash that was found; a defect of this miner."""
