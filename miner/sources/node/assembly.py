"""From a template to a job, and from a share back to a block.

The way out uses the branch beside the coinbase. The way back does not: before a block leaves, its root is computed
again over the transaction ids of the template and the coinbase as it stands in the bytes to be sent.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from miner.chain.block import serialise_block
from miner.chain.coinbase import Coinbase, build_coinbase
from miner.chain.compact_size import Reader, compact_size
from miner.chain.errors import ChainError
from miner.chain.hashes import display
from miner.chain.header import HEADER_SIZE, Header
from miner.chain.merkle import fold, merkle_branch, merkle_root
from miner.chain.transaction import Transaction, TxOut
from miner.sources.node.template import Template, TemplateError
from miner.sources.solo import EXTRANONCE_SIZE, TAG
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share


class ShareUnsound(Exception):
    """The second computation does not confirm a share: a defect of ours, and nothing was sent."""


def process_tag() -> bytes:
    """The coinbase tag of this process: 8 random bytes keep two miners of one node off each other's headers."""
    return TAG + secrets.token_bytes(8)


@dataclass(frozen=True, slots=True)
class Assembly:
    """A template with the coinbase that this miner put on it."""

    template: Template
    coinbase: Coinbase
    branch: tuple[bytes, ...]

    def job(self, source: str, session: int, key: str, now: float) -> Job:
        """What devices search; `now` on the monotonic clock."""
        template = self.template
        return Job(
            source=source,
            session=session,
            key=key,
            prev_hash=template.prev_hash,
            version=template.version,
            version_mask=template.version_mask,
            nbits=template.nbits,
            ntime=template.curtime,
            ntime_limit=template.ntime_limit,
            share_target=template.target,
            network_target=template.target,
            arrived=now,
            body=CoinbaseParts(
                prefix=self.coinbase.prefix,
                suffix=self.coinbase.suffix,
                extranonce2_size=EXTRANONCE_SIZE,
                branch=self.branch,
            ),
            height=template.height,
            payload=self,
        )

    def block(self, version: int, ntime: int, nonce: int, extranonce: bytes) -> bytes:
        """The whole block as submitblock takes it."""
        template = self.template
        root = fold(self.branch, self.coinbase.txid(extranonce))
        header = Header(version, template.prev_hash, root, ntime, template.nbits, nonce)
        others = [bytes.fromhex(entry.data) for entry in template.transactions]
        return serialise_block(header, self.coinbase.with_witness(extranonce), others)

    def proposal(self) -> bytes:
        """A block without proof of work, for the node's opinion of everything else (BIP 23)."""
        return self.block(self.template.version, self.template.curtime, 0, bytes(EXTRANONCE_SIZE))


def assemble(template: Template, payout_script: bytes, tag: bytes) -> Assembly:
    """Put our coinbase on a template; raises TemplateError when the two do not fit together."""
    try:
        commitment = None
        if template.segwit:
            commitment = template.commitment or template.own_commitment()
        coinbase = build_coinbase(
            height=template.height,
            outputs=[TxOut(template.coinbase_value, payout_script)],
            extranonce_size=EXTRANONCE_SIZE,
            tag=tag,
            aux=template.aux,
            commitment=commitment,
        )
        branch = merkle_branch([entry.txid for entry in template.transactions])
    except ChainError as error:
        raise TemplateError(f"template: {error}") from error
    overhead = 4 * (HEADER_SIZE + len(compact_size(len(template.transactions) + 1))) + coinbase.weight
    weight = overhead + sum(entry.weight for entry in template.transactions)
    if weight > template.weight_limit:
        raise TemplateError(f"template: the block would weigh {weight}, the limit is {template.weight_limit}")
    return Assembly(template, coinbase, branch)


def solved_block(share: Share) -> bytes:
    """The block of a share, computed a second time from the bytes about to leave.

    Raises ShareUnsound when they do not hash to what the share says or miss the template's target.
    """
    assembly = share.job.payload
    assert isinstance(assembly, Assembly)
    block = assembly.block(share.version, share.ntime, share.nonce, share.extranonce2)
    digest = hashlib.sha256(hashlib.sha256(block[:HEADER_SIZE]).digest()).digest()
    value = int.from_bytes(digest, "little")
    if value != share.hash:
        raise ShareUnsound(f"share {share.id} hashes to {display(digest)}, not to {share.hash:064x}")
    if value > assembly.template.target:
        raise ShareUnsound(f"share {share.id} does not meet the block's target")
    if Header.unpack(block[:HEADER_SIZE]).merkle_root != _root(block, assembly.template):
        raise ShareUnsound(f"share {share.id}: the block's merkle root is not that of its transactions")
    return block


def _root(block: bytes, template: Template) -> bytes:
    """The merkle root, from the coinbase as it stands in the block and without the branch."""
    reader = Reader(block)
    reader.take(HEADER_SIZE)
    reader.compact_size()
    return merkle_root([Transaction.read(reader).txid, *(entry.txid for entry in template.transactions)])
