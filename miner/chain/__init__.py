"""Bitcoin's own data: headers, targets, transactions, blocks, addresses. Pure functions and frozen values."""

from miner.chain.address import Address, AddressKind, parse_address, payout_script
from miner.chain.block import Block, serialise_block
from miner.chain.coinbase import Coinbase, build_coinbase, parse_coinbase
from miner.chain.commitment import find_commitment, is_commitment, witness_commitment
from miner.chain.compact_size import compact_size
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
from miner.chain.transaction import MAX_WEIGHT, Transaction, TxIn, TxOut

__all__ = [
    "COIN",
    "DIFFICULTY_ONE",
    "HEADER_SIZE",
    "MAX_MONEY",
    "MAX_TARGET",
    "MAX_WEIGHT",
    "ZERO_HASH",
    "Address",
    "AddressError",
    "AddressKind",
    "Block",
    "BlockError",
    "ChainError",
    "Coinbase",
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
    "Transaction",
    "TransactionError",
    "TxIn",
    "TxOut",
    "build_coinbase",
    "compact_size",
    "difficulty_of",
    "display",
    "find_commitment",
    "fold",
    "from_display",
    "is_commitment",
    "merkle_branch",
    "merkle_root",
    "parse_address",
    "parse_coinbase",
    "payout_script",
    "push",
    "push_height",
    "read_height",
    "serialise_block",
    "sha256d",
    "subsidy",
    "witness_commitment",
]
