"""Transactions in a node's mempool, without a wallet: coins that anybody may spend, spent by hand.

The script is OP_TRUE behind a hash, once as P2SH and once as P2WSH: standard to every node, and nothing to sign.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain

from tests.real.nodes import Node, NodeError, wait_until

OP_TRUE = b"\x51"
SATOSHIS = 100_000_000
MATURITY = 100
FAN = 1000  # outputs of one splitting transaction: about a tenth of a block
FEE = 2000  # for a transaction of 60 to 110 bytes; rises by one each time, so that no two pay the same
ENTRY_S = 30.0


class Lock(Enum):
    LEGACY = auto()
    SEGWIT = auto()

    @property
    def script(self) -> bytes:
        if self is Lock.SEGWIT:
            return b"\x00\x20" + hashlib.sha256(OP_TRUE).digest()
        # The number is HASH160 of OP_TRUE: not every hashlib has RIPEMD-160.
        return b"\xa9\x14" + bytes.fromhex("da1745e9b549bd0bfa1a569971c77eba30cd5a4b") + b"\x87"


@dataclass(frozen=True, slots=True)
class Coin:
    txid: str
    index: int
    value: int
    lock: Lock


@dataclass(frozen=True, slots=True)
class Spend:
    """A transaction of one input."""

    coin: Coin
    values: tuple[int, ...]
    lock: Lock

    @property
    def txid(self) -> str:
        stripped = self._fixed(b"", b"")
        return hashlib.sha256(hashlib.sha256(stripped).digest()).digest()[::-1].hex()

    @property
    def raw(self) -> bytes:
        if self.coin.lock is Lock.LEGACY:
            return self._fixed(b"", b"")
        return self._fixed(b"\x00\x01", b"\x01\x01" + OP_TRUE)

    def coins(self) -> list[Coin]:
        return [Coin(self.txid, index, value, self.lock) for index, value in enumerate(self.values)]

    def _fixed(self, marker: bytes, witness: bytes) -> bytes:
        unlocking = b"\x02\x01" + OP_TRUE if self.coin.lock is Lock.LEGACY else b"\x00"
        script = self.lock.script
        return b"".join(
            [
                struct.pack("<i", 2) + marker,
                b"\x01" + bytes.fromhex(self.coin.txid)[::-1] + struct.pack("<I", self.coin.index),
                unlocking + struct.pack("<I", 0xFFFFFFFF),
                _compact(len(self.values)),
                *(struct.pack("<q", value) + bytes([len(script)]) + script for value in self.values),
                witness + struct.pack("<I", 0),
            ]
        )


def _compact(number: int) -> bytes:
    return bytes([number]) if number < 0xFD else b"\xfd" + struct.pack("<H", number)


def mine(node: Node, count: int) -> list[str]:
    """Blocks by the node itself, to the P2SH of OP_TRUE; their hashes."""
    address = node.rpc("decodescript", OP_TRUE.hex())["p2sh"]
    hashes: list[str] = node.rpc("generatetoaddress", count, address)
    return hashes


def fund_mempool(node: Node, count: int) -> list[str]:
    """Put `count` transactions into the mempool of a regtest node and return their ids in the order sent.

    In turn: a legacy spend, a segwit spend, and a segwit spend of the one before it, as a template's `depends` shows.
    Where segwit is not active yet all are legacy. The chain grows by a little more than a hundred blocks.
    """
    third = -(-count // 3)
    legacy_coins, segwit_coins = _coins(node, third, (Lock.LEGACY, Lock.SEGWIT if node.segwit else Lock.LEGACY))
    spends: list[Spend] = []
    for number in range(count):
        coin = (legacy_coins.pop, segwit_coins.pop, lambda: spends[-1].coins()[0])[number % 3]()
        spends.append(Spend(coin, (coin.value - FEE - number,), coin.lock))
    return _send(node, spends)


def _coins(node: Node, count: int, locks: tuple[Lock, ...]) -> list[list[Coin]]:
    """Confirmed coins, so many under each lock, made by splitting fresh coinbases."""
    sizes = [min(FAN, count - start) for start in range(0, count, FAN)]
    coinbases = iter(mine(node, len(sizes) * len(locks)))
    mine(node, MATURITY)
    splits = [[_split(node, next(coinbases), size, lock) for size in sizes] for lock in locks]
    waiting = set(_send(node, list(chain.from_iterable(splits))))
    while waiting & set(node.rpc("getrawmempool")):
        mine(node, 1)
    return [[coin for spend in spends for coin in spend.coins()] for spends in splits]


def _split(node: Node, block: str, size: int, lock: Lock) -> Spend:
    txid = node.rpc("getblock", block)["tx"][0]
    value = int(node.rpc("gettxout", txid, 0)["value"] * SATOSHIS)
    share = (value - 1_000_000) // size
    return Spend(Coin(txid, 0, value, Lock.LEGACY), (share,) * size, lock)


def _send(node: Node, spends: list[Spend]) -> list[str]:
    for spend in spends:
        node.submit(spend.raw)
    sent = [spend.txid for spend in spends]
    if not wait_until(lambda: set(sent) <= set(node.rpc("getrawmempool")), ENTRY_S):
        raise NodeError(f"{node.name} did not take every transaction{node.log_tail()}")
    return sent
