"""A device for these tests: brute force with hashlib over a job, as a share comes out of the manager."""

from __future__ import annotations

import itertools

from miner.work.job import Job
from miner.work.share import Share
from tests.sources.node.search import share_of_nonce


def share_of(job: Job, nonce: int = 0, *, extranonce2: bytes = bytes(8), version: int | None = None) -> Share:
    """What this nonce hashes to, whether it is any good or not."""
    return share_of_nonce(job, extranonce2, nonce, version)


def solve(job: Job, *, extranonce2: bytes = bytes(8), version: int | None = None) -> Share:
    """The first nonce that meets the job's target."""
    candidates = (share_of(job, nonce, extranonce2=extranonce2, version=version) for nonce in itertools.count())
    return next(share for share in candidates if share.block)
