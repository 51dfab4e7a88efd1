"""Bitcoin's own data: headers, targets, transactions, blocks, addresses. Pure functions and frozen values."""

from miner.chain.errors import (
    AddressError,
    BlockError,
    ChainError,
    CoinbaseError,
    EncodingError,
    HashError,
    HeaderError,
    MerkleError,
    NetworkError,
    ScriptError,
    TargetError,
    TransactionError,
)
from miner.chain.hashes import ZERO_HASH, display, from_display, sha256d
from miner.chain.header import HEADER_SIZE, Header
from miner.chain.merkle import fold, merkle_branch, merkle_root
from miner.chain.network import Network
from miner.chain.script import push, push_height, read_height
from miner.chain.subsidy import COIN, MAX_MONEY, subsidy
from miner.chain.target import DIFFICULTY_ONE, MAX_TARGET, Target, difficulty_of

__all__ = [
    "COIN",
    "DIFFICULTY_ONE",
    "HEADER_SIZE",
    "MAX_MONEY",
    "MAX_TARGET",
    "ZERO_HASH",
    "AddressError",
    "BlockError",
    "ChainError",
    "CoinbaseError",
    "EncodingError",
    "HashError",
    "Header",
    "HeaderError",
    "MerkleError",
    "Network",
    "NetworkError",
    "ScriptError",
    "Target",
    "TargetError",
    "TransactionError",
    "difficulty_of",
    "display",
    "fold",
    "from_display",
    "merkle_branch",
    "merkle_root",
    "push",
    "push_height",
    "read_height",
    "sha256d",
    "subsidy",
]
