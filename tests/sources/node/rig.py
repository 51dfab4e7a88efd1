"""A node source at work in a test: its events heard, its jobs searched, its shares answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from miner.chain.network import Network
from miner.sources.node.journal import Journal
from miner.sources.node.rpc import Endpoint, Login, Password
from miner.sources.node.source import Node, NodeOptions, NodeSource
from miner.work.events import Answered, NewJob, SourceDown, SourceEvent, SourceFailed
from miner.work.job import Job
from miner.work.share import Answer, Share
from tests.sources.node.search import share_of
from tests.virtual.node import VirtualNode

PAYOUT = bytes.fromhex("0014" + "ab" * 20)
HASTE = 25.0  # how much faster the source's clock runs than ours
Search = Callable[[Job], Share]
PATIENCE_S = 20.0


@dataclass
class Rig:
    """A source at work, and what it said. `search` runs in a thread."""

    source: NodeSource
    search: Search = share_of
    patience_s: float = PATIENCE_S
    events: list[SourceEvent] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    answers: dict[int, Answer] = field(default_factory=dict)
    shares: list[Share] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, event: SourceEvent) -> None:
        self.events.append(event)
        match event:
            case NewJob(job):
                self.jobs.append(job)
            case Answered(_, answer):
                assert answer.share_id not in self.answers, "answered twice"
                self.answers[answer.share_id] = answer
        self._news.set()

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait for news, or for what a thread does, until it holds."""
        async with asyncio.timeout(self.patience_s):
            while not holds():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), 0.02)

    async def job(self) -> Job:
        await self.until(lambda: self.jobs)
        return self.jobs[-1]

    def submit(self, job: Job) -> Share:
        return self.hand_in(self.search(job))

    def hand_in(self, share: Share) -> Share:
        self.shares.append(share)
        self.source.submit(share)
        return share

    async def mine(self, blocks: int) -> None:
        """So many accepted blocks, each on the newest job."""
        for _ in range(blocks):
            while not await self.find_one():
                await asyncio.sleep(0.01)  # lost to another block: the next job is on its way

    async def find_one(self) -> bool:
        share = self.hand_in(await asyncio.to_thread(self.search, await self.job()))
        await self.until(lambda: share.id in self.answers)
        if not self.answers[share.id].accepted:
            return False
        await self.until(lambda: self.jobs[-1].prev_hash != share.job.prev_hash)
        return True

    def reasons(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, SourceDown | SourceFailed)]

    def failed(self) -> str | None:
        return next((event.reason for event in self.events if isinstance(event, SourceFailed)), None)


@contextlib.asynccontextmanager
async def rig(
    node: Node,
    journal: Journal | None = None,
    *,
    network: Network = Network.REGTEST,
    also: tuple[Node, ...] = (),
    wall: Callable[[], float] = time.time,
    timeout: float = 0.5,
    haste: float = HASTE,
    payout: bytes = PAYOUT,
    search: Search = share_of,
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Rig]:
    source = NodeSource(
        NodeOptions(node, network, payout, also),
        journal,
        clock=lambda: time.monotonic() * haste,
        wall=wall,
        timeout=timeout,
        tick=0.005,
    )
    rig = Rig(source, search, patience_s)
    task = asyncio.create_task(source.run(rig.hear))
    try:
        yield rig
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def at(node: VirtualNode, login: Login | None = None) -> Node:
    """Where it answers."""
    return Node(Endpoint("127.0.0.1", node.port), login or Password(*node.login))


def files(folder: Path, suffix: str) -> int:
    """How many of them."""
    return len(list(folder.glob(f"*.{suffix}")))
