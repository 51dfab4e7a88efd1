"""Blocks to put before the judge: a good one on top of a tip, and every way to spoil it."""

from __future__ import annotations

from dataclasses import replace

from miner.chain.block import serialise_block
from miner.chain.coinbase import build_coinbase
from miner.chain.commitment import witness_commitment
from miner.chain.header import Header
from miner.chain.network import Network
from miner.chain.subsidy import subsidy
from miner.chain.target import Target
from miner.chain.transaction import TxOut
from miner.sources.consensus import Tip

EASY = Network.REGTEST.pow_limit_nbits


def mined(header: Header, target: Target, *, missing: bool = False) -> Header:
    """The first header that meets the target, or the first that misses it."""
    nonce = 0
    while target.met_by((found := replace(header, nonce=nonce)).hash) == missing:
        nonce += 1
    return found


def block_on(
    tip: Tip,
    *,
    height: int | None = None,
    extra: int = 0,
    commitment: bytes | None = None,
    ntime: int | None = None,
    nbits: int = EASY,
    version: int = 0x20000000,
    prev_hash: bytes | None = None,
    merkle_root: bytes | None = None,
    missing: bool = False,
    tag: bytes = b"forge",
) -> bytes:
    """A regtest block on this tip; each argument spoils one thing. `extra`: satoshi paid too much."""
    here = tip.height + 1
    coinbase = build_coinbase(
        height=here if height is None else height,
        outputs=[TxOut(subsidy(here, Network.REGTEST) + extra, b"\x51")],
        extranonce_size=0,
        tag=tag,
        commitment=commitment or witness_commitment([]),
    )
    header = Header(
        version=version,
        prev_hash=prev_hash or tip.hash,
        merkle_root=merkle_root or coinbase.txid(b""),
        ntime=ntime or tip.median_time_past + 1,
        nbits=nbits,
        nonce=0,
    )
    return serialise_block(mined(header, Target.from_nbits(nbits), missing=missing), coinbase.with_witness(b""), [])
