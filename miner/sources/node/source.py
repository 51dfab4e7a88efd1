"""A node in the place of a pool: the shell around `protocol` and `delivery`, which decide. Here are threads and timers.

Connections, each in a thread of its own: templates and opinions; the longpoll; submitblock, once for every node.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from miner.chain.network import Network
from miner.sources.base import Post, SourceError, SourceMisbehaved, SourceUnreachable
from miner.sources.node import delivery, protocol
from miner.sources.node.assembly import Assembly, ShareUnsound, assemble, own_commitment, process_tag, solved_block
from miner.sources.node.journal import FoundBlock, Journal, JournalError
from miner.sources.node.rpc import Endpoint, Login, Rpc, RpcRefused
from miner.sources.node.template import TemplateReader
from miner.sources.node.worker import Worker
from miner.work.events import Answered, NewJob, SourceDown, SourceFailed, SourceUp
from miner.work.share import Answer, Reason, Share

log = structlog.get_logger(__name__)

LONGPOLL_TIMEOUT_S = 100.0  # the node answers after 60 s at the earliest when only its mempool changed
TICK_S = 0.25


@dataclass(frozen=True, slots=True)
class Node:
    """Where and as whom to reach one node."""

    endpoint: Endpoint
    login: Login

    @property
    def name(self) -> str:
        """For logs and metrics."""
        return self.endpoint.name


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What the operator decides."""

    node: Node
    network: Network
    payout_script: bytes
    also_submit: tuple[Node, ...] = ()
    tag: bytes = field(default_factory=process_tag)


class NodeSource:
    """Implements `miner.sources.base.Source` for bitcoind and its kin."""

    def __init__(
        self,
        options: NodeOptions,
        journal: Journal | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311  spreads retries, hides nothing
    ) -> None:
        self._options = options
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._protocol = protocol.NodeProtocol(self.name, options.network, jitter)
        nodes = (options.node, *options.also_submit)
        self._nodes = {node.name: node for node in nodes}
        self._delivery = delivery.Delivery(self.name, tuple(self._nodes))
        self._reader = TemplateReader(options.network)
        self._post: Post = lambda _event: None
        self._workers: dict[str, tuple[Worker, Rpc]] = {}
        self._preparing = 0  # shares whose block is still being put together
        self._quiet = asyncio.Event()  # set while no block waits for its first answer
        self._quiet.set()
        self._old_blocks_sent = False

    @property
    def name(self) -> str:
        return self._options.node.name

    async def run(self, post: Post) -> None:
        self._post = post
        try:
            self._decide(protocol.Start())
            while True:
                await asyncio.sleep(TICK_S)
                self._decide(protocol.Tick())
                self._deliver(delivery.Tick())
        finally:
            for worker, _ in self._workers.values():
                worker.close()
            self._workers.clear()

    def submit(self, share: Share) -> None:
        self._preparing += 1
        self._quiet.clear()
        worker, _ = self._connection("prepare", self._options.node)
        worker.call(lambda: self._prepared(share), lambda outcome: self._on_prepared(share, outcome))

    async def drain(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), timeout)

    async def check(self) -> list[str]:
        return await asyncio.to_thread(self._check)

    # ---- questions

    def _decide(self, event: protocol.Event) -> None:
        for effect in self._protocol.handle(event, self._clock()):
            match effect:
                case protocol.Question():
                    self._ask(effect)
                case protocol.Warn(name, text):
                    log.warning(name, source=self.name, text=text)
                case SourceUp() | SourceDown() | SourceFailed() | NewJob() | Answered():
                    self._post(effect)

    def _ask(self, question: protocol.Question) -> None:
        longpoll = question.ask is protocol.Ask.LONGPOLL
        timeout = LONGPOLL_TIMEOUT_S if longpoll else None
        worker, rpc = self._connection("longpoll" if longpoll else "template", self._options.node, timeout)

        def done(outcome: protocol.Event | Exception) -> None:
            if isinstance(outcome, Exception):
                outcome = protocol.Failed(question.ask, _as_source_error(outcome))
            self._decide(outcome)
            if isinstance(outcome, protocol.Learned):
                self._send_old_blocks()
            if isinstance(outcome, protocol.Fetched):
                self._look_closer(outcome.assembly)

        worker.call(lambda: self._answer(question, rpc), done)

    def _answer(self, question: protocol.Question, rpc: Rpc) -> protocol.Event:
        match question.ask:
            case protocol.Ask.CHAIN:
                info = rpc.call("getblockchaininfo")
                chain = info.get("chain") if isinstance(info, dict) else None
                if not isinstance(chain, str):
                    raise SourceMisbehaved(f"{self.name} does not say which chain it follows")
                return protocol.Learned(chain[:32])
            case protocol.Ask.OPINION:
                assert question.assembly is not None
                request = self._request(mode="proposal", data=question.assembly.proposal().hex())
                verdict = rpc.call("getblocktemplate", request)
                return protocol.Opinion(None if verdict is None else str(verdict)[:100])
            case _:
                more = {} if question.longpoll_id is None else {"longpollid": question.longpoll_id}
                answer = rpc.call("getblocktemplate", self._request(**more))
                assembly = assemble(self._reader.read(answer), self._options.payout_script, self._options.tag)
                return protocol.Fetched(question.ask, assembly, self._wall())

    def _request(self, **more: str) -> dict[str, Any]:
        rules = ["segwit", "signet"] if self._options.network is Network.SIGNET else ["segwit"]
        return {"rules": rules, "capabilities": ["coinbasevalue", "longpoll", "proposal"], **more}

    def _look_closer(self, assembly: Assembly) -> None:
        """Check behind the search what a new tip should not wait for: the transactions and the node's commitment."""

        def look() -> None:
            self._reader.audit(assembly.template)
            if assembly.template.commitment not in (None, own_commitment(assembly.template)):
                raise SourceMisbehaved("template: default_witness_commitment does not commit to its transactions")

        def done(outcome: Exception | None) -> None:
            if outcome is not None:
                self._decide(protocol.Failed(protocol.Ask.TEMPLATE, _as_source_error(outcome)))

        worker, _ = self._connection("audit", self._options.node)
        worker.call(look, done)

    # ---- blocks

    def _prepared(self, share: Share) -> FoundBlock:
        raw = solved_block(share)
        found = FoundBlock(
            hash=f"{share.hash:064x}",
            height=share.job.height or 0,
            chain=self._options.network.value,
            found_at=self._wall(),
            raw=raw,
        )
        if self._journal is not None:
            try:
                self._journal.record(found)
            except JournalError as error:
                log.error("block_not_written", text=str(error), block=found.hash)  # noqa: TRY400
        return found

    def _on_prepared(self, share: Share, outcome: FoundBlock | Exception) -> None:
        self._preparing -= 1
        if isinstance(outcome, FoundBlock):
            log.info("block_found", source=self.name, height=outcome.height, block=outcome.hash)
            self._deliver(delivery.Deliver(outcome, share.id))
            return
        text = str(outcome) if isinstance(outcome, ShareUnsound) else repr(outcome)
        log.error("share_unsound", source=self.name, share=share.id, text=text[:300])
        answer = Answer(share.id, accepted=False, block=share.block, reason=Reason.MALFORMED, text=text[:200])
        self._post(Answered(self.name, answer))
        self._deliver(delivery.Tick())

    def _send_old_blocks(self) -> None:
        """Hand in what an earlier run found and never saw answered."""
        if self._journal is None or self._old_blocks_sent:
            return
        self._old_blocks_sent = True
        for found in self._journal.pending():
            if isinstance(found, JournalError):
                log.warning("journal_unreadable", text=str(found))
            elif found.chain == self._options.network.value:
                log.info("block_resubmitted", source=self.name, height=found.height, block=found.hash)
                self._deliver(delivery.Deliver(found, None))

    def _deliver(self, event: delivery.Event) -> None:
        for effect in self._delivery.handle(event, self._clock()):
            match effect:
                case delivery.Send(block, node):
                    self._send(block, node)
                case delivery.Settle(block, answers):
                    self._settle(block, answers)
                case Answered():
                    if effect.answer.accepted:
                        self._decide(protocol.BlockTaken())
                    self._post(effect)
        if self._preparing or self._delivery.unanswered:
            self._quiet.clear()
        else:
            self._quiet.set()

    def _send(self, block: FoundBlock, node: str) -> None:
        worker, rpc = self._connection(f"submit {node}", self._nodes[node])

        def done(outcome: str | Exception) -> None:
            if isinstance(outcome, Exception):
                log.warning("block_not_delivered", node=node, block=block.hash, text=str(outcome)[:200])
                self._deliver(delivery.Unreached(block.hash, node, str(outcome)[:200]))
            else:
                log.info("block_answered", node=node, block=block.hash, answer=outcome or "accepted")
                self._deliver(delivery.Replied(block.hash, node, outcome))

        worker.call(lambda: _submit(rpc, block.raw), done)

    def _settle(self, block: FoundBlock, answers: Mapping[str, str]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.settle(block, dict(answers))
        except JournalError as error:
            log.warning("journal_unwritable", text=str(error))

    # ---- plumbing

    def _connection(self, purpose: str, node: Node, timeout: float | None = None) -> tuple[Worker, Rpc]:
        if purpose not in self._workers:
            rpc = Rpc(node.endpoint, node.login) if timeout is None else Rpc(node.endpoint, node.login, timeout)
            self._workers[purpose] = (Worker(f"node {purpose}", asyncio.get_running_loop()), rpc)
        return self._workers[purpose]

    def _check(self) -> list[str]:
        rpc = Rpc(self._options.node.endpoint, self._options.node.login)
        try:
            machine = protocol.NodeProtocol(self.name, self._options.network, lambda: 1.0)
            machine.handle(protocol.Start(), 0.0)
            learned = self._answer(protocol.Question(protocol.Ask.CHAIN), rpc)
            for effect in machine.handle(learned, 0.0):
                if isinstance(effect, SourceFailed):
                    raise SourceMisbehaved(effect.reason)
            fetched = self._answer(protocol.Question(protocol.Ask.TEMPLATE), rpc)
            assert isinstance(fetched, protocol.Fetched)
            template = fetched.assembly.template
            findings = [
                f"{self.name} follows {self._options.network.label}",
                f"its template: height {template.height}, {len(template.transactions)} transactions",
                f"a block would pay {template.coinbase_value} satoshi",
                f"the payout script is {self._options.payout_script.hex()}",
            ]
            if template.can_propose:
                opinion = self._answer(protocol.Question(protocol.Ask.OPINION, fetched.assembly), rpc)
                assert isinstance(opinion, protocol.Opinion)
                if opinion.reason is not None:
                    raise SourceMisbehaved(f"{self.name} would not take a block of ours: {opinion.reason}")
                findings.append("it would take a block of ours")
            return findings
        finally:
            rpc.close()


def _submit(rpc: Rpc, raw: bytes) -> str:
    try:
        verdict = rpc.call("submitblock", raw.hex())
    except RpcRefused as error:
        if error.code in protocol.NOT_READY:
            raise SourceUnreachable(str(error)) from error
        return error.message
    return "" if verdict is None else str(verdict)[:100]


def _as_source_error(error: Exception) -> SourceError:
    if isinstance(error, SourceError):
        return error
    log.error("unexpected", exc_info=error)
    return SourceMisbehaved(f"{type(error).__name__}: {error}"[:300])
