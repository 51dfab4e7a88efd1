"""The next block of the private chain: first as a job, then, with a share's fields in it, as bytes for the judge.

tip --> Draft --> job                     what devices search
          +-----> solved(share) --> bytes the block, computed a second time before anybody sees it
"""

from __future__ import annotations

from dataclasses import dataclass

from miner.chain.block import Block, serialise_block
from miner.chain.coinbase import Coinbase, build_coinbase
from miner.chain.commitment import witness_commitment
from miner.chain.errors import ChainError
from miner.chain.hashes import display
from miner.chain.header import ROLLABLE, Header
from miner.chain.network import Network
from miner.chain.subsidy import subsidy
from miner.chain.transaction import TxOut
from miner.sources.base import SourceError
from miner.sources.consensus import Tip
from miner.sources.solo import AHEAD_S, EXTRANONCE_SIZE, TAG
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share

_VERSION = 1 << 29  # BIP 9: the top bits 001, nothing signalled
_EMPTY_BLOCK = witness_commitment([])


class ShareUnsound(SourceError):
    """Local: the second computation does not confirm a share. A defect of ours; nothing left."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A block of one transaction, all but extranonce2, nonce, ntime and the version bits that may be rolled."""

    prev_hash: bytes
    height: int
    coinbase: Coinbase
    ntime: int
    ntime_limit: int
    target: int  # what paces the chain, harder than nbits says

    def job(self, source: str, session: int, key: str, now: float) -> Job:
        """What devices search; `now` in seconds, monotonic."""
        return Job(
            source=source,
            session=session,
            key=key,
            prev_hash=self.prev_hash,
            version=_VERSION,
            version_mask=ROLLABLE,
            nbits=Network.REGTEST.pow_limit_nbits,
            ntime=self.ntime,
            ntime_limit=self.ntime_limit,
            share_target=self.target,
            network_target=self.target,
            arrived=now,
            body=CoinbaseParts(self.coinbase.prefix, self.coinbase.suffix, EXTRANONCE_SIZE, branch=()),
            height=self.height,
        )

    def solved(self, share: Share) -> bytes:
        """The serialised block of a share; ShareUnsound unless the bytes, read back, are what the share says."""
        try:
            raw = self._serialise(share)
            block = Block.parse(raw)
            block.check()
        except ChainError as error:
            raise ShareUnsound(f"its fields make no block: {error}") from error
        self._confirm(block.header, share)
        return raw

    def _serialise(self, share: Share) -> bytes:
        header = Header(
            version=share.version,
            prev_hash=self.prev_hash,
            merkle_root=self.coinbase.txid(share.extranonce2),
            ntime=share.ntime,
            nbits=Network.REGTEST.pow_limit_nbits,
            nonce=share.nonce,
        )
        return serialise_block(header, self.coinbase.with_witness(share.extranonce2), [])

    def _confirm(self, header: Header, share: Share) -> None:
        value = int.from_bytes(header.hash, "little")
        if value != share.hash:
            raise ShareUnsound(f"hashes to {display(header.hash)}, not to {share.hash:064x}")
        if value > self.target:
            raise ShareUnsound(f"hash {display(header.hash)} is above the target {self.target:064x}")
        if header.version & ~ROLLABLE != _VERSION:
            raise ShareUnsound(f"version {header.version:08x} is rolled outside of {ROLLABLE:08x}")
        if not self.ntime <= header.ntime <= self.ntime_limit:
            raise ShareUnsound(f"ntime {header.ntime} is outside of {self.ntime} .. {self.ntime_limit}")


def draft_on(tip: Tip, *, payout_script: bytes, target: int, wall_s: float) -> Draft:
    """The block to search on this tip, paying all of the subsidy to one script; `wall_s`: Unix time.

    Raises CoinbaseError for a script that no coinbase may pay.
    """
    height = tip.height + 1
    ntime = max(int(wall_s), tip.median_time_past + 1)
    return Draft(
        prev_hash=tip.hash,
        height=height,
        coinbase=build_coinbase(
            height=height,
            outputs=[TxOut(subsidy(height, Network.REGTEST), payout_script)],
            extranonce_size=EXTRANONCE_SIZE,
            tag=TAG,
            commitment=_EMPTY_BLOCK,
        ),
        ntime=ntime,
        ntime_limit=max(ntime, int(wall_s) + AHEAD_S),
        target=target,
    )
