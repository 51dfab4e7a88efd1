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
    version = job.version if version is None else version
    assert isinstance(job.body, CoinbaseParts)
    prefix = struct.pack("<I", version) + job.prev_hash + job.body.merkle_root(extranonce)
    prefix += struct.pack("<II", job.ntime, job.nbits)
    for nonce in itertools.count():
        digest = hashlib.sha256(hashlib.sha256(prefix + struct.pack("<I", nonce)).digest()).digest()
        value = int.from_bytes(digest, "little")
        if (value <= job.share_target) == meets:
            break
    return Share(
        id=next(_ids),
        job=job,
        device="hashlib",
        extranonce2=extranonce,
        nonce=nonce,
        version=version,
        ntime=job.ntime,
        hash=value,
        block=value <= job.network_target,
        stale=False,
        found_at=0.0,
    )
