"""A device for these tests: brute force with hashlib over a job, as a share comes out of the manager."""

from __future__ import annotations

import hashlib
import itertools
import struct

from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share

_ids = itertools.count(1)


def share_of(job: Job, nonce: int = 0, *, extranonce2: bytes = bytes(8), version: int | None = None) -> Share:
    """What this nonce hashes to, whether it is any good or not."""
    assert isinstance(job.body, CoinbaseParts)
    version = job.version if version is None else version
    fields = (version, job.prev_hash, job.body.merkle_root(extranonce2), job.ntime, job.nbits, nonce)
    digest = hashlib.sha256(hashlib.sha256(struct.pack("<I32s32sIII", *fields)).digest()).digest()
    value = int.from_bytes(digest, "little")
    return Share(
        id=next(_ids),
        job=job,
        device="hashlib",
        extranonce2=extranonce2,
        nonce=nonce,
        version=version,
        ntime=job.ntime,
        hash=value,
        block=value <= job.network_target,
        stale=False,
        found_at=job.arrived,
    )


def solve(job: Job, *, extranonce2: bytes = bytes(8), version: int | None = None) -> Share:
    """The first nonce that meets the job's target."""
    candidates = (share_of(job, nonce, extranonce2=extranonce2, version=version) for nonce in itertools.count())
    return next(share for share in candidates if share.block)
