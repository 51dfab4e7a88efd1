"""New coins per block. Source: Bitcoin Core, GetBlockSubsidy; the limit is consensus/amount.h."""

from __future__ import annotations

from miner.chain.errors import ChainError
from miner.chain.network import Network

COIN = 100_000_000  # satoshi
MAX_MONEY = 21_000_000 * COIN  # no value in any valid transaction is greater


def subsidy(height: int, network: Network) -> int:
    """What a block at this height may create, in satoshi, fees not included.

    It halves every 210,000 blocks, on regtest every 150, until nothing is left.
    Raises ChainError for a negative height.
    """
    if height < 0:
        raise ChainError(f"no block has height {height}")
    return 50 * COIN >> height // network.halving_interval
