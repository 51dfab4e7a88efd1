"""The smallest device there can be: hashlib over one job, for targets that a few hashes meet."""

from __future__ import annotations

import hashlib
import itertools
import secrets
import struct

from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share

_ids = itertools.count(1)


def share_of(job: Job, extranonce: bytes | None = None, *, version: int | None = None, meets: bool = True) -> Share:
    """The first share from an extranonce, random unless it is given."""
    extranonce = secrets.token_bytes(8) if extranonce is None else extranonce
    nonces = (share_of_nonce(job, extranonce, nonce, version) for nonce in itertools.count())
    return next(share for share in nonces if (share.hash <= job.share_target) == meets)


def share_of_nonce(job: Job, extranonce: bytes, nonce: int, version: int | None = None) -> Share:
    """What a device would hand in for this header."""
    version = job.version if version is None else version
    assert isinstance(job.body, CoinbaseParts)
    header = struct.pack("<I", version) + job.prev_hash + job.body.merkle_root(extranonce)
    header += struct.pack("<III", job.ntime, job.nbits, nonce)
    value = int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest(), "little")
    return Share(
        id=next(_ids),
        job=job,
        device="search",
        extranonce2=extranonce,
        nonce=nonce,
        version=version,
        ntime=job.ntime,
        hash=value,
        block=value <= job.network_target,
        stale=False,
        found_at=0.0,
    )
