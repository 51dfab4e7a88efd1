"""A node in the place of a pool: the shell around `protocol` and `delivery`, which decide. Here are threads and timers.

Connections, each in a thread of its own: templates and opinions; the longpoll; submitblock, once for every node. Two
more threads have none: one audits templates, one puts found blocks together and writes them down.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from miner.chain.hashes import display, from_display
from miner.chain.network import Network
from miner.sources.base import Post, SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.node import delivery, protocol
from miner.sources.node.assembly import ShareUnsound, assemble, process_tag, solved_block
from miner.sources.node.calls import TEXT_LIMIT, chain_of, submit_block, verdict_of
from miner.sources.node.journal import FoundBlock, Journal, JournalError
from miner.sources.node.ours import Displaced, OwnBlock, Restored
from miner.sources.node.rpc import TIMEOUT_S, Endpoint, Login, Rpc, RpcRefused
from miner.sources.node.template import TemplateReader
from miner.sources.node.worker import Worker
from miner.work.events import Answered, NewJob, SourceDown, SourceFailed, SourceUp
from miner.work.share import Answer, Reason, Share

log = structlog.get_logger(__name__)
T = TypeVar("T")

TICK_S = 0.25
JOURNAL_S = 2.0  # how long a block waits to be on the disk before it is handed in all the same
_KEPT = "no node has taken this block yet: it lies in the journal, and the next start hands it in"
_LOST = "no node has taken this block yet, and it is not in the journal: it is lost unless the last attempt arrives"


@dataclass(frozen=True, slots=True)
class Node:
    """Where and as whom to reach one node."""

    endpoint: Endpoint
    login: Login
    label: str | None = None  # what the operator calls it

    @property
    def name(self) -> str:
        """For logs, metrics and the ledger."""
        return self.label or self.endpoint.name


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What the operator decides."""

    node: Node
    network: Network
    payout_script: bytes
    also_submit: tuple[Node, ...] = ()
    tag: bytes = field(default_factory=process_tag)


class NodeSource:
    """Implements `miner.sources.base.Source` for bitcoind and its kin.

    `run` goes on after SourceFailed: a block that was found must still reach the node. `timeout` (seconds) is for each
    call but the longpoll.
    """

    def __init__(
        self,
        options: NodeOptions,
        journal: Journal | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311  spreads retries, hides nothing
        timeout: float = TIMEOUT_S,
        tick: float = TICK_S,
    ) -> None:
        self._options = options
        self._journal = journal
        self._clock = clock
        self._wall = wall
        self._timeout = timeout
        self._tick = tick
        self._nodes = {node.name: node for node in (*options.also_submit, options.node)}
        others = tuple(name for name in self._nodes if name != self.name)
        self._protocol = protocol.NodeProtocol(self.name, options.network, jitter)
        self._delivery = delivery.Delivery(self.name, (self.name, *others))
        self._reader = TemplateReader(options.network)
        self._post: Post = lambda _event: None
        self._workers: dict[str, Worker] = {}
        self._rpcs: dict[str, Rpc] = {}
        self._unwritten: set[str] = set()  # hashes of blocks that the journal could not take
        self._unprepared: dict[int, Share] = {}  # their block is still being put together and written down
        self._quiet = asyncio.Event()  # set while no block waits for its first answer
        self._quiet.set()
        self._stopped = False
        self._said = ""  # why the node is away

    @property
    def name(self) -> str:
        return self._options.node.name

    async def run(self, post: Post) -> None:
        if self._stopped:
            return
        self._post = post
        try:
            self._decide(protocol.Start())
            while True:
                await asyncio.sleep(self._tick)
                self._decide(protocol.Tick())
                self._deliver(delivery.Tick())
        finally:
            self._stopped = True
            self._close()

    def submit(self, share: Share) -> None:
        self._unprepared[share.id] = share
        self._quiet.clear()
        self._in_thread("prepare", lambda: self._prepared(share), lambda outcome: self._on_prepared(share, outcome))
        asyncio.get_running_loop().call_later(JOURNAL_S, self._stop_waiting_for_disk, share)

    async def drain(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), timeout)

    async def check(self) -> list[str]:
        return await asyncio.to_thread(self._check)

    # ---- questions

    def _decide(self, event: protocol.Event) -> None:
        if self._stopped:
            return
        for effect in self._protocol.handle(event, self._clock()):
            match effect:
                case protocol.Question():
                    self._ask(effect)
                case protocol.HangUp():
                    self._rpc("longpoll", self._options.node).hang_up()
                case protocol.HandIn(settled_from):
                    self._hand_in(settled_from)
                case protocol.Warn(name, text):
                    log.warning(name, source=self.name, text=text)
                case Displaced(block):
                    text = "the node does not build on this block of ours any more"
                    log.warning("block_displaced", **self._of(block), text=text)
                case Restored(block):
                    log.info("block_restored", **self._of(block), text="the node builds on this block of ours again")
                case SourceUp() | SourceDown() | SourceFailed() | NewJob() | Answered():
                    self._tell(effect)
                    self._post(effect)

    def _ask(self, question: protocol.Question) -> None:
        match question.ask:
            case protocol.Ask.AUDIT:
                purpose = "audit"
            case protocol.Ask.LONGPOLL:
                purpose = "longpoll"
            case _:
                purpose = "template"
        rpc = self._rpc(purpose, self._options.node)

        def done(outcome: protocol.Event | Exception) -> None:
            if isinstance(outcome, Exception):
                outcome = protocol.Failed(question.ask, _as_source_error(outcome))
            self._decide(outcome)

        self._in_thread(purpose, lambda: self._answer(question, rpc), done)

    def _answer(self, question: protocol.Question, rpc: Rpc) -> protocol.Event:
        match question.ask:
            case protocol.Ask.CHAIN:
                return protocol.Learned(chain_of(rpc, self.name))
            case protocol.Ask.OPINION:
                assert question.assembly is not None
                request = self._request(mode="proposal", data=question.assembly.proposal().hex())
                verdict = verdict_of(rpc.call("getblocktemplate", request), self.name)
                return protocol.Opinion(question.assembly, verdict or None)
            case protocol.Ask.AUDIT:
                assert question.assembly is not None
                try:
                    self._reader.audit(question.assembly.template)
                except SourceError as error:
                    return protocol.Audited(question.assembly, error)
                return protocol.Audited(question.assembly, None)
            case protocol.Ask.LONGPOLL:
                assert question.longpoll_id is not None
                answer = rpc.wait("getblocktemplate", self._request(longpollid=question.longpoll_id))
                return self._fetched(question.ask, answer)
            case protocol.Ask.TEMPLATE:
                return self._fetched(question.ask, rpc.call("getblocktemplate", self._request()))

    def _fetched(self, ask: protocol.Ask, answer: object) -> protocol.Fetched:
        assembly = assemble(self._reader.read(answer), self._options.payout_script, self._options.tag)
        return protocol.Fetched(ask, assembly, self._wall())

    def _request(self, **more: str) -> dict[str, Any]:
        rules = ["segwit", "signet"] if self._options.network is Network.SIGNET else ["segwit"]
        return {"rules": rules, "capabilities": ["coinbasevalue", "longpoll", "proposal"], **more}

    def _tell(self, event: SourceUp | SourceDown | SourceFailed | NewJob | Answered) -> None:
        match event:
            case SourceDown(_, reason) if reason != self._said:
                self._said = reason
                log.warning("node_away", source=self.name, reason=reason)
            case SourceUp():
                self._said = ""
                log.info("node_ready", source=self.name)
                self._deliver(delivery.Reachable(self.name))

    def _of(self, block: OwnBlock) -> dict[str, object]:
        return {"source": self.name, "height": block.height, "block": display(block.hash)}

    # ---- blocks

    def _composed(self, share: Share) -> FoundBlock:
        return FoundBlock(
            hash=f"{share.hash:064x}",
            height=share.job.height or 0,
            chain=self._options.network.value,
            found_at=self._wall(),
            raw=solved_block(share),
        )

    def _prepared(self, share: Share) -> FoundBlock:
        found = self._composed(share)
        log.info("block_found", source=self.name, height=found.height, block=found.hash)
        if self._journal is not None:
            try:
                self._journal.record(found)
            except JournalError as error:
                self._unwritten.add(found.hash)
                which = {"source": self.name, "height": found.height, "block": found.hash}
                log.error("block_not_written", **which, text=str(error))  # noqa: TRY400  the text says it all
        return found

    def _stop_waiting_for_disk(self, share: Share) -> None:
        """Hand the block in unwritten: a disk that hangs must not keep it from the node."""
        if share.id not in self._unprepared:
            return
        block = f"{share.hash:064x}"
        self._unwritten.add(block)
        text = f"the disk has not answered for {JOURNAL_S:g} s: the block is handed in without the journal"
        log.error("block_not_written", source=self.name, height=share.job.height, block=block, text=text)
        self._in_thread("hasten", lambda: self._composed(share), lambda outcome: self._on_prepared(share, outcome))

    def _on_prepared(self, share: Share, outcome: FoundBlock | Exception) -> None:
        if self._unprepared.pop(share.id, None) is None:
            return  # it was handed in without waiting for the disk
        if isinstance(outcome, FoundBlock):
            self._deliver(delivery.Deliver(outcome, share.id))
            return
        text = str(outcome) if isinstance(outcome, ShareUnsound) else repr(outcome)
        which = {"height": share.job.height, "block": f"{share.hash:064x}"}
        log.error("share_unsound", source=self.name, share=share.id, **which, text=text[:TEXT_LIMIT])
        answer = Answer(share.id, accepted=False, block=share.block, reason=Reason.MALFORMED, text=text[:TEXT_LIMIT])
        self._post(Answered(self.name, answer))
        self._deliver(delivery.Tick())

    def _hand_in(self, settled_from: int | None) -> None:
        """Hand in again what was never answered, or what the node may have forgotten since."""
        journal = self._journal
        if journal is None:
            return
        read = journal.pending if settled_from is None else lambda: journal.settled_from(settled_from)

        def done(outcome: list[FoundBlock | JournalError] | Exception) -> None:
            for found in [outcome] if isinstance(outcome, Exception) else outcome:
                if not isinstance(found, FoundBlock):
                    log.error("journal_unreadable", text=str(found)[:TEXT_LIMIT])
                elif found.chain != self._options.network.value:
                    text = f"a block of {found.chain} stays in the journal: the node follows another chain"
                    log.warning("block_kept", source=self.name, height=found.height, block=found.hash, text=text)
                else:
                    log.info("block_resubmitted", source=self.name, height=found.height, block=found.hash)
                    self._deliver(delivery.Deliver(found, None))

        self._in_thread("prepare", lambda: list(read()), done)

    def _deliver(self, event: delivery.Event) -> None:
        for effect in self._delivery.handle(event, self._clock()):
            match effect:
                case delivery.Send(block, node):
                    self._send(block, node)
                case delivery.Settle(block):
                    self._unwritten.discard(block.hash)
                    self._settle(block)
                case delivery.Taken(block):
                    own = OwnBlock(from_display(block.hash), block.raw[4:36], block.height)
                    self._decide(protocol.BlockTaken(own))
                case delivery.GaveUp(block, node):
                    text = "it did not take the block in ten minutes; another node has answered"
                    log.warning("block_given_up", node=node, height=block.height, block=block.hash, text=text)
                case Answered():
                    self._post(effect)
        if self._unprepared or self._delivery.unanswered:
            self._quiet.clear()
        else:
            self._quiet.set()

    def _send(self, block: FoundBlock, node: str) -> None:
        rpc = self._rpc(f"submit {node}", self._nodes[node])

        def done(outcome: str | Exception) -> None:
            if isinstance(outcome, Exception):
                text = str(_as_source_error(outcome))[:TEXT_LIMIT]
                log.warning("block_not_delivered", node=node, height=block.height, block=block.hash, text=text)
                self._deliver(delivery.Unreached(block.hash, node, text))
            else:
                level = log.info if delivery.is_yes(outcome) else log.warning
                level("block_answered", node=node, height=block.height, block=block.hash, answer=outcome or "accepted")
                self._deliver(delivery.Replied(block.hash, node, outcome))

        self._in_thread(f"submit {node}", lambda: submit_block(rpc, block.raw, node), done)

    def _settle(self, block: FoundBlock) -> None:
        journal = self._journal
        if journal is None:
            return

        def done(outcome: Exception | None) -> None:
            if outcome is not None:
                log.warning("journal_unwritable", text=str(outcome)[:TEXT_LIMIT])

        self._in_thread("prepare", lambda: journal.settle(block), done)

    # ---- plumbing

    def _in_thread(self, purpose: str, work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        worker = self._workers.get(purpose)
        if worker is None:
            worker = Worker(f"node {purpose}", asyncio.get_running_loop())
            if not self._stopped:
                self._workers[purpose] = worker
        worker.call(work, done)
        if self._stopped:  # a late answer or a late block
            worker.close()

    def _rpc(self, purpose: str, node: Node) -> Rpc:
        if purpose not in self._rpcs:
            self._rpcs[purpose] = Rpc(node.endpoint, node.login, self._timeout)
        return self._rpcs[purpose]

    def _tell_untaken(self) -> None:
        """Say of each block that no node has taken where it is now."""
        for block in self._delivery.untaken:
            if self._journal is None or block.hash in self._unwritten:
                log.error("block_not_taken", source=self.name, height=block.height, block=block.hash, text=_LOST)
            else:
                log.warning("block_not_taken", source=self.name, height=block.height, block=block.hash, text=_KEPT)

    def _close(self) -> None:
        """End the threads. A block on its way to a node gets there, or lies in the journal."""
        self._tell_untaken()
        for purpose, worker in self._workers.items():
            rpc = self._rpcs.get(purpose)
            if rpc is None:
                worker.close()
                continue
            if not purpose.startswith("submit"):
                rpc.hang_up()
            worker.close(rpc.close)
        self._workers.clear()
        self._rpcs.clear()

    def _check(self) -> list[str]:
        options = self._options
        rpc = Rpc(options.node.endpoint, options.node.login, self._timeout)
        try:
            self._require_chain(rpc, self.name)
            assembly = self._fetched(protocol.Ask.TEMPLATE, rpc.call("getblocktemplate", self._request())).assembly
            template = assembly.template
            self._reader.audit(template)
            findings = [
                f"{self.name} follows {options.network.label}",
                f"its template: height {template.height}, {len(template.transactions)} transactions",
                f"a block would pay {template.coinbase_value} satoshi",
                f"the payout script is {options.payout_script.hex()}",
            ]
            if template.can_propose:
                opinion = self._answer(protocol.Question(protocol.Ask.OPINION, assembly), rpc)
                assert isinstance(opinion, protocol.Opinion)
                if opinion.reason is not None:
                    raise SourceMisbehaved(f"{self.name} would not take a block of ours: {opinion.reason}")
                findings.append("it would take a block of ours")
        except RpcRefused as error:
            raise SourceMisbehaved(protocol.sentence(error)) from error
        finally:
            rpc.close()
        return findings + [self._check_other(node) for name, node in self._nodes.items() if name != self.name]

    def _check_other(self, node: Node) -> str:
        rpc = Rpc(node.endpoint, node.login, self._timeout)
        try:
            self._require_chain(rpc, node.name)
        except SourceUnreachable as error:
            return f"blocks also go to {node.name}, which does not answer now: {error}"
        finally:
            rpc.close()
        return f"blocks also go to {node.name}"

    def _require_chain(self, rpc: Rpc, name: str) -> None:
        chain = chain_of(rpc, name)
        if chain != self._options.network.value:
            raise SourceMisconfigured(f"{name} follows the chain {chain!r}, not {self._options.network.label}")


def _as_source_error(error: Exception) -> SourceError:
    if isinstance(error, SourceError):
        return error
    log.error("unexpected", exc_info=error)
    return SourceMisbehaved(f"{type(error).__name__}: {error}"[:TEXT_LIMIT])
