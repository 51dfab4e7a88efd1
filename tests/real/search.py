"""The compiled search on every core, for targets that hashlib would take minutes to meet."""

from __future__ import annotations

import os
import secrets
import struct
import threading
from functools import cache
from pathlib import Path

import numpy as np

import native
from backends import kernels
from backends.cpu import cores
from backends.cpu.choice.forge import forged
from backends.cpu.choice.workshop import Workshop
from backends.cpu.search import Search
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Share
from tests.sources.node.search import share_of_nonce

CHUNK = 1 << 20


@cache
def _search() -> Search:
    folder = Path(__file__).parents[2] / ".cache"
    return forged(Workshop(kernels.candidates(), kernels.open_cache(folder, native.host_features()), cores.model()))


def share_of(job: Job) -> Share:
    """The first share that any core finds."""
    search = _search()
    found: list[Share] = []
    cancel = np.zeros(1, np.uint32)

    def walk() -> None:
        hits = np.empty((64, 2), np.uint32)
        while not found:
            extranonce = secrets.token_bytes(8)
            assert isinstance(job.body, CoinbaseParts)
            header = struct.pack("<I", job.version) + job.prev_hash + job.body.merkle_root(extranonce)
            header += struct.pack("<II", job.ntime, job.nbits)
            params = search.prepare(header, [job.version], job.share_target)
            for start in range(0, 1 << 32, CHUNK):
                _, count = search.scan(native.NonceRange(params, start, CHUNK, hits, cancel, 0))
                shares = [share_of_nonce(job, extranonce, int(nonce)) for nonce, _ in hits[:count]]
                found.extend(share for share in shares if share.hash <= job.share_target)
                if found:
                    cancel[0] = 1
                    return

    threads = [threading.Thread(target=walk) for _ in range(os.cpu_count() or 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found[0]
