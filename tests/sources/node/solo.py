"""A solo miner in a test: the node source and the work manager together, with hashlib in the place of devices."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from backends.base import Hit, Work
from miner.chain.network import Network
from miner.sources.node.journal import Journal
from miner.sources.node.source import Node, NodeOptions, NodeSource
from miner.work.events import Answered, BlockDropped, Found, SourceEvent, Submit
from miner.work.job import CoinbaseParts, Job
from miner.work.manager import Manager
from miner.work.share import Answer, Share
from tests.sources.node.rig import HASTE, PATIENCE_S, PAYOUT
from tests.sources.node.search import share_of


@dataclass
class Solo:
    """A manager that serves one node source, and what came of each block."""

    source: NodeSource
    manager: Manager
    heard: list[SourceEvent] = field(default_factory=list)
    submitted: list[Share] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    dropped: list[BlockDropped] = field(default_factory=list)

    def hear(self, event: SourceEvent | Found) -> None:
        if not isinstance(event, Found):
            self.heard.append(event)
        if isinstance(event, Answered):
            self.answers[event.answer.share_id] = event.answer
        for effect in self.manager.handle(event, time.monotonic()):
            if isinstance(effect, Submit):
                self.submitted.append(effect.share)
                self.source.submit(effect.share)
            elif isinstance(effect, BlockDropped):
                self.dropped.append(effect)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.002)

    def hit(self, job: Job) -> Share | None:
        """A block on this job; as it was handed in, or None."""
        share = share_of(job)
        assert isinstance(job.body, CoinbaseParts)
        root = job.body.merkle_root(share.extranonce2)
        work = Work(
            id=1,
            epoch=0,
            prev_hash=job.prev_hash,
            merkle_root=root,
            version=job.version,
            version_mask=0,
            ntime=job.ntime,
            ntime_span=0,
            nbits=job.nbits,
            target=job.network_target,
        )
        before = len(self.submitted)
        hit = Hit(work, share.nonce, share.version, share.ntime)
        self.hear(Found("cpu:0", hit, job, share.extranonce2, share.hash, stale=False))
        return self.submitted[-1] if len(self.submitted) > before else None

    async def block(self) -> Answer:
        """Handed in on what is served, and answered."""
        await self.until(lambda: self.manager.served)
        served = self.manager.served
        assert served is not None
        share = self.hit(served)
        assert share is not None, self.dropped[-1]
        await self.until(lambda: share.id in self.answers)
        return self.answers[share.id]

    async def mine(self, blocks: int) -> None:
        """So many blocks, each accepted and followed by a job on it."""
        for _ in range(blocks):
            assert (await self.block()).accepted
            parent = self.submitted[-1].job.prev_hash
            await self.until(lambda parent=parent: self.manager.served and self.manager.served.prev_hash != parent)

    async def back_to(self, height: int) -> None:
        """Wait for work on a block of this height."""
        await self.until(lambda: self.manager.served and self.manager.served.height == height + 1)


@contextlib.asynccontextmanager
async def solo(node: Node, journal: Journal | None = None, *, timeout: float = 0.5) -> AsyncIterator[Solo]:
    source = NodeSource(
        NodeOptions(node, Network.REGTEST, PAYOUT),
        journal,
        clock=lambda: time.monotonic() * HASTE,
        timeout=timeout,
        tick=0.005,
    )
    miner = Solo(source, Manager([source.name]))
    task = asyncio.create_task(source.run(miner.hear))
    try:
        yield miner
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
