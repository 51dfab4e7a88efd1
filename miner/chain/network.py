"""The five Bitcoin networks and where they differ for a miner.

Sources: Bitcoin Core, kernel/chainparams.cpp and chainparamsbase.cpp; BIP 94 for testnet4, BIP 325 for signet.
Testnet3, testnet4 and signet write addresses alike: only the node can say which of them it follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Self

from miner.chain.errors import NetworkError, TargetError
from miner.chain.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    label: str
    pow_limit_nbits: int
    versions: tuple[int, int, int]  # P2PKH, P2SH, private key
    hrp: str
    rpc_port: int
    halving_interval: int = 210_000


_TEST_VERSIONS = (0x6F, 0xC4, 0xEF)
_FACTS = {
    "main": _Facts(label="mainnet", pow_limit_nbits=0x1D00FFFF, versions=(0x00, 0x05, 0x80), hrp="bc", rpc_port=8332),
    "test": _Facts(label="testnet3", pow_limit_nbits=0x1D00FFFF, versions=_TEST_VERSIONS, hrp="tb", rpc_port=18332),
    "testnet4": _Facts(label="testnet4", pow_limit_nbits=0x1D00FFFF, versions=_TEST_VERSIONS, hrp="tb", rpc_port=48332),
    "signet": _Facts(label="signet", pow_limit_nbits=0x1E0377AE, versions=_TEST_VERSIONS, hrp="tb", rpc_port=38332),
    "regtest": _Facts(
        label="regtest",
        pow_limit_nbits=0x207FFFFF,
        versions=_TEST_VERSIONS,
        hrp="bcrt",
        rpc_port=18443,
        halving_interval=150,
    ),
}


class Network(Enum):
    """A network; its value is what bitcoind's getblockchaininfo calls it under `chain`."""

    MAIN = "main"
    TESTNET3 = "test"
    TESTNET4 = "testnet4"
    SIGNET = "signet"
    REGTEST = "regtest"

    def __init__(self, chain: str) -> None:
        facts = _FACTS[chain]
        self.label = facts.label  # for people
        self.pow_limit_nbits = facts.pow_limit_nbits  # the easiest target of any block
        self.p2pkh_version, self.p2sh_version, self.wif_version = facts.versions  # first byte of base58check
        self.hrp = facts.hrp  # what a segwit address begins with, before the separator 1
        self.rpc_port = facts.rpc_port  # bitcoind's default
        self.halving_interval = facts.halving_interval  # blocks

    @classmethod
    def from_chain(cls, chain: str) -> Self:
        """The network that a node names in getblockchaininfo; raises NetworkError for one not known here."""
        try:
            return cls(chain)
        except ValueError as error:
            known = ", ".join(network.value for network in cls)
            raise NetworkError(f"unknown chain {chain!r}; known are {known}") from error

    @property
    def pow_limit(self) -> Target:
        """The easiest target that any block of this network may have."""
        return Target.from_nbits(self.pow_limit_nbits)

    def block_target(self, nbits: int) -> Target:
        """Decode a block's nbits; raises TargetError for no target, or one easier than this network allows."""
        target = Target.from_nbits(nbits)
        if target > self.pow_limit:
            raise TargetError(f"nbits {nbits:08x} is easier than {self.label} allows ({self.pow_limit_nbits:08x})")
        return target
