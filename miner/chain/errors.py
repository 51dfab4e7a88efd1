"""Every way in which chain data can be refused, as one tree under ChainError.

Whoever handles bytes or text from a peer catches ChainError once; the subclasses say what was refused.
"""

from __future__ import annotations


class ChainError(ValueError):
    """Data that cannot be what it is offered as: a header, a target, an address, a block."""


class HashError(ChainError):
    """Not 32 bytes, or not 64 hex digits."""


class HeaderError(ChainError):
    """Not the 80 bytes, or not the six fields, of a block header."""


class TargetError(ChainError):
    """A compact target no header may carry, or a difficulty that gives no target."""


class NetworkError(ChainError):
    """A chain this miner does not know."""


class MerkleError(ChainError):
    """A list of hashes from which no block may be built."""


class ScriptError(ChainError):
    """A value that cannot be pushed, or a script without the expected push."""


class EncodingError(ChainError):
    """Bytes that end too early or are not in their canonical form."""


class TransactionError(ChainError):
    """Bytes or values that are not a transaction."""


class CoinbaseError(ChainError):
    """A coinbase that would make its block invalid, or would lose its reward."""


class AddressError(ChainError):
    """Text that is not a usable address; the message never repeats what may be a private key."""


class BlockError(ChainError):
    """Bytes that are not a block, or a block whose parts contradict each other."""
