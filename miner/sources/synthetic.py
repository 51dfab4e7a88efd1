"""Endless made-up work, offline: for benchmarks, burn-in and tests. Nothing is mined for anyone.

The previous blocks never existed, no chain would take a block on them, and every share is judged right here, with
hashlib alone. The same seed makes the same jobs.

    SyntheticChain   invents jobs and judges shares: no clock, no I/O
    SyntheticSource  the asyncio shell around it
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from miner.chain.target import MAX_TARGET, Target
from miner.work.events import Answered, NewJob, SourceUp
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Answer, Reason, Share

from .base import Post, SourceMisconfigured

log = structlog.get_logger()

NOTICE = "synthetic work: made up on this machine, nothing is mined for anyone"
_LIVE_JOBS = 32  # whose shares are taken; older ones are stale
_FIRST_NTIME = 1 << 30  # January 2004: no time that a real block could carry
_VERSION = 1 << 29
_VERSION_MASK = 0xFFFF << 13  # the bits of BIP 320
_GUESS_HPS = 1e7  # until somebody has hashed
_GUESS_S = 1.0  # how soon a job made on a guess is corrected


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """What the made-up work looks like. Raises SourceMisconfigured for what cannot be."""

    seed: int = 0
    job_interval_s: float = 30.0
    replace_ratio: float = 0.1  # how many of the jobs come with a new previous block; the others are updates
    share_interval_s: float = 5.0  # at the rate that is reported
    shares_per_block: int = 100
    version_mask: int = _VERSION_MASK
    ntime_roll_s: int = 600
    extranonce2_size: int = 4
    branch_length: int = 12
    payload_bytes: int = 0  # dead weight on each job, as a large template has

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[float, float]] = {
            "job_interval_s": (0.001, 86400),
            "replace_ratio": (0, 1),
            "share_interval_s": (1e-6, 86400),
            "shares_per_block": (1, 1 << 32),
            "version_mask": (0, _VERSION - 1),
            "ntime_roll_s": (0, 7200),
            "extranonce2_size": (1, 16),
            "branch_length": (0, 32),
            "payload_bytes": (0, 1 << 26),
        }
        for name, (least, most) in allowed.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SourceMisconfigured(f"synthetic: {name} is {value}, but must lie in {least:g} .. {most:g}")


@dataclass(slots=True)
class _Open:
    """A job that shares are taken for, as this side remembers it."""

    job: Job
    body: CoinbaseParts
    seen: set[bytes] = field(default_factory=set)  # headers


class SyntheticChain:
    """A chain that exists only as far as its jobs show it."""

    def __init__(self, name: str, options: SyntheticOptions) -> None:
        self._name = name
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311, reproducible on purpose, secret to nobody
        self._made = 0
        self._height = 0
        self._prev_hash = b""
        self._began: float | None = None
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def next_job(self, now: float, rate_hps: float | None, session: int = 1) -> NewJob:
        """The next job for somebody who hashes at this rate; `now` in seconds, monotonic."""
        options, draw = self._options, self._random.randbytes
        if self._began is None:
            self._began = now
        replace = self._random.random() < options.replace_ratio or not self._prev_hash
        if replace:
            self._prev_hash = draw(32)
            self._height += 1
            self._open.clear()
        share_target = _target((rate_hps or _GUESS_HPS) * options.share_interval_s)
        nbits = Target(max(share_target // options.shares_per_block, 1)).to_nbits()
        body = CoinbaseParts(
            prefix=draw(60),
            suffix=draw(60),
            extranonce2_size=options.extranonce2_size,
            branch=tuple(draw(32) for _ in range(options.branch_length)),
        )
        self._made += 1
        ntime = _FIRST_NTIME + int(now - self._began)
        job = Job(
            source=self._name,
            session=session,
            key=f"{self._made:x}",
            prev_hash=self._prev_hash,
            version=_VERSION,
            version_mask=options.version_mask,
            nbits=nbits,
            ntime=ntime,
            ntime_limit=ntime + options.ntime_roll_s,
            share_target=share_target,
            network_target=Target.from_nbits(nbits).value,
            arrived=now,
            body=body,
            height=self._height,
            payload=bytes(options.payload_bytes),
        )
        self._open[job.key] = _Open(job, body)
        if len(self._open) > _LIVE_JOBS:
            self._open.popitem(last=False)
        return NewJob(job, replace)

    def judge(self, share: Share) -> Answer:
        """Rebuild the header from what was submitted and hash it; the share's own claims are only compared."""
        known = self._open.get(share.job.key)
        if known is None:
            return Answer(share.id, accepted=False, block=share.block, reason=Reason.STALE, text="job is gone")
        job = known.job
        if len(share.extranonce2) != self._options.extranonce2_size:
            return _no(share, Reason.MALFORMED, "extranonce2 has the wrong size")
        if not job.ntime <= share.ntime <= job.ntime_limit:
            return _no(share, Reason.BAD_TIME, "ntime outside of what the job allows")
        if share.version & ~job.version_mask != job.version:
            return _no(share, Reason.BAD_VERSION, "version rolled outside of the mask")
        header = _header(known, share)
        hash_ = int.from_bytes(_sha256d(header), "little")
        if hash_ != share.hash:
            return _no(share, Reason.MALFORMED, f"hashes to {hash_:064x}, not to {share.hash:064x}")
        if hash_ > max(job.share_target, job.network_target):
            return _no(share, Reason.LOW_DIFFICULTY, "above the target")
        if header in known.seen:
            return _no(share, Reason.DUPLICATE, "had that one")
        known.seen.add(header)
        return Answer(share.id, accepted=True, block=hash_ <= job.network_target)


class SyntheticSource:
    """Implements sources.base.Source. `rate`: what all devices do together now, hashes a second."""

    def __init__(
        self,
        name: str = "synthetic:",
        options: SyntheticOptions | None = None,
        rate: Callable[[], float | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._options = options or SyntheticOptions()
        self._rate = rate
        self._clock = clock
        self._chain = SyntheticChain(name, self._options)
        self._session = 0
        self._post: Post | None = None

    @property
    def name(self) -> str:
        return self._name

    async def run(self, post: Post) -> None:
        self._post = post
        self._session += 1
        log.warning("work_is_synthetic", source=self._name, notice=NOTICE)
        post(SourceUp(self._name))
        while True:
            rate_hps = self._rate()
            post(self._chain.next_job(self._clock(), rate_hps, self._session))
            interval_s = self._options.job_interval_s
            await asyncio.sleep(interval_s if rate_hps else min(interval_s, _GUESS_S))

    def submit(self, share: Share) -> None:
        asyncio.get_running_loop().call_soon(self._answer, share)

    async def drain(self, timeout: float) -> None:  # noqa: ARG002, it never takes long
        await asyncio.sleep(0)  # every answer is already scheduled for this turn of the loop

    async def check(self) -> list[str]:
        return [NOTICE]

    def _answer(self, share: Share) -> None:
        if self._post is not None:
            self._post(Answered(self._name, self._chain.judge(share)))


def _no(share: Share, reason: Reason, text: str) -> Answer:
    return Answer(share.id, accepted=False, block=share.block, reason=reason, text=text)


def _target(hashes: float) -> int:
    """The target that so many hashes meet once on average."""
    return min(max((1 << 256) // max(int(hashes), 1), 1), MAX_TARGET)


def _header(known: _Open, share: Share) -> bytes:
    """The 80 bytes that this share says were hashed, built anew with nothing of the miner's own."""
    root = _sha256d(known.body.prefix + share.extranonce2 + known.body.suffix)
    for sibling in known.body.branch:
        root = _sha256d(root + sibling)
    return struct.pack(
        "<I32s32sIII", share.version, known.job.prev_hash, root, share.ntime, known.job.nbits, share.nonce
    )


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
