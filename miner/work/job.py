"""A job: everything that a source announced about one unit of work, frozen when it arrived.

Jobs are shared between threads and outlive their successors (quota, updates): always follow `Work.id -> Job`, there is
no "current job" below the manager.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from miner.chain import merkle
from miner.chain.hashes import sha256d

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class CoinbaseParts:
    """The stripped coinbase around extranonce2 (prefix already holds extranonce1) and the branch beside it."""

    prefix: bytes
    suffix: bytes
    extranonce2_size: int  # bytes
    branch: tuple[bytes, ...]  # 32 bytes each, header order, from the leaves upwards

    def merkle_root(self, extranonce2: bytes) -> bytes:
        """The root, header order, of a block whose coinbase carries this extranonce2."""
        return merkle.fold(self.branch, sha256d(self.prefix + extranonce2 + self.suffix))


@dataclass(frozen=True, slots=True)
class ReadyRoot:
    """A root that the source computed: no extranonce, so only nonce, version and ntime can vary."""

    root: bytes  # 32 bytes, header order


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of work from one source. Targets are integers that a hash must not exceed."""

    source: str  # the source's name, as configured
    session: int  # rises with each of the source's connections; extranonce2 never restarts inside one
    key: str  # the source's own name for it, as it must be sent back
    prev_hash: bytes  # 32 bytes, header order
    version: int
    version_mask: int  # bits a device may roll; version & version_mask == 0
    nbits: int
    ntime: int  # the earliest that may be used
    ntime_limit: int  # the latest that may be used; == ntime: no rolling
    share_target: int
    network_target: int  # a hash at most this solves a block (embedded chain: paces the chain)
    arrived: float  # seconds on the engine's monotonic clock
    body: CoinbaseParts | ReadyRoot
    height: int | None = None
    payload: Any = None  # the source's own: template, raw notify; nothing else looks inside
    id: int = field(default_factory=lambda: next(_ids))
