"""Calls to a node and what their answers mean. Each blocks, and raises SourceError for an answer that means nothing."""

from __future__ import annotations

from miner.printable import printable
from miner.sources.base import SourceMisbehaved
from miner.sources.node.rpc import Rpc, RpcRefused

TEXT_LIMIT = 200  # characters of a node's words that are kept
_VERDICTS = frozenset({-22, -25, -26})  # errors with which a node judges a block: undecodable, invalid, refused


def chain_of(rpc: Rpc, name: str) -> str:
    """Return what the node calls its chain."""
    info = rpc.call("getblockchaininfo")
    chain = info.get("chain") if isinstance(info, dict) else None
    if not isinstance(chain, str):
        raise SourceMisbehaved(f"{name} does not say which chain it follows")
    return printable(chain[:32])


def submit_block(rpc: Rpc, raw: bytes, name: str) -> str:
    """Hand in a block and return the node's verdict, "" for accepted.

    An error that is no verdict is raised: the block must be handed in again.
    """
    try:
        return verdict_of(rpc.call("submitblock", raw.hex()), name)
    except RpcRefused as error:
        if error.code not in _VERDICTS:
            raise
        return error.message


def verdict_of(answer: object, name: str) -> str:
    """Return the word of an answer to a block or a proposal; "" for the null of a yes. Source: BIP 22."""
    if answer is None:
        return ""
    if not isinstance(answer, str) or not answer:
        raise SourceMisbehaved(f"{name} answers a block with something else than a verdict")
    return printable(answer[:TEXT_LIMIT])
