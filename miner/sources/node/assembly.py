"""From a template to a job, and from a share back to a block.

The way out uses the branch beside the coinbase. The way back does not: before a block leaves, its root is computed
again over the transaction ids of the template and the coinbase as it stands in the bytes to be sent.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from miner.chain.block import serialise_block
from miner.chain.coinbase import Coinbase, build_coinbase, parse_coinbase
from miner.chain.commitment import witness_commitment
from miner.chain.compact_size import compact_size
from miner.chain.errors import ChainError
from miner.chain.hashes import display
from miner.chain.header import HEADER_SIZE, Header
from miner.chain.merkle import merkle_branch, merkle_root
from miner.chain.transaction import TxOut
from miner.sources.node.template import Template, TemplateError
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share

TAG = b"/angara/"
EXTRANONCE_SIZE = 8
AHEAD_S = 600  # how far ntime may run ahead of the template's; nodes accept two hours


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
            ntime_limit=template.curtime + AHEAD_S,
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

    def block(self, header: Header, extranonce: bytes) -> bytes:
        """The whole block as submitblock takes it."""
        others = [entry.data for entry in self.template.transactions]
        return serialise_block(header, self.coinbase.with_witness(extranonce), others)

    def proposal(self) -> bytes:
        """A block without proof of work, for the node's opinion of everything else (BIP 23)."""
        template = self.template
        extranonce = bytes(EXTRANONCE_SIZE)
        root = CoinbaseParts(self.coinbase.prefix, self.coinbase.suffix, EXTRANONCE_SIZE, self.branch).merkle_root(
            extranonce
        )
        header = Header(template.version, template.prev_hash, root, template.curtime, template.nbits, 0)
        return self.block(header, extranonce)


def assemble(template: Template, payout_script: bytes, tag: bytes) -> Assembly:
    """Put our coinbase on a template; raises TemplateError when the two do not fit together."""
    try:
        commitment = None
        if template.segwit:
            commitment = template.commitment or own_commitment(template)
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


def own_commitment(template: Template) -> bytes:
    """The witness commitment as we compute it, to be compared with the node's."""
    return witness_commitment([entry.wtxid for entry in template.transactions])


def solved_block(share: Share) -> bytes:
    """The block of a share, computed a second time from the bytes about to leave.

    Raises ShareUnsound when they do not hash to what the share says or miss the template's target.
    """
    assembly = share.job.payload
    assert isinstance(assembly, Assembly)
    template = assembly.template
    root = merkle_root([assembly.coinbase.txid(share.extranonce2), *(entry.txid for entry in template.transactions)])
    header = Header(share.version, template.prev_hash, root, share.ntime, template.nbits, share.nonce)
    block = assembly.block(header, share.extranonce2)
    _confirm(block, share, assembly)
    return block


def _confirm(block: bytes, share: Share, assembly: Assembly) -> None:
    digest = hashlib.sha256(hashlib.sha256(block[:HEADER_SIZE]).digest()).digest()
    value = int.from_bytes(digest, "little")
    if value != share.hash:
        raise ShareUnsound(f"share {share.id} hashes to {display(digest)}, not to {share.hash:064x}")
    if value > assembly.template.target:
        raise ShareUnsound(f"share {share.id} does not meet the block's target")
    start = HEADER_SIZE + len(compact_size(len(assembly.template.transactions) + 1))
    coinbase = assembly.coinbase.with_witness(share.extranonce2)
    if block[start : start + len(coinbase)] != coinbase:
        raise ShareUnsound(f"share {share.id}: the block does not begin with its coinbase")
    parse_coinbase(coinbase)
