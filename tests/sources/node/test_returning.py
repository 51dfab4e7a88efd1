"""Whatever a node does to its chain, the miner hands in a block on its tip, and never more than one for each job.

The node is a tree of blocks. Its answers are formed at one moment and arrive at another, or never. The miner is the
node's state machine, the delivery of blocks and the work manager, without sockets, threads and clocks.
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.network import Network
from miner.sources.base import SourceUnreachable
from miner.sources.node import delivery, protocol
from miner.sources.node.assembly import Assembly, assemble
from miner.sources.node.journal import FoundBlock
from miner.sources.node.ours import OwnBlock
from miner.sources.node.protocol import Ask
from miner.sources.node.template import TemplateReader
from miner.work.events import Answered, BlockDropped, Effect, Fate, NewJob, SourceDown, SourceUp, Submit
from miner.work.job import Job
from miner.work.manager import Manager
from miner.work.outbox import DOUBT_S, Outbox
from tests.sources.node.templates import NOW, core
from tests.work.making import a_found

NODE = "node"
GENESIS = "0" * 64


@cache
def assembly(tip: str, height: int) -> Assembly:
    return assemble(TemplateReader(Network.REGTEST).read(core(height=height, previousblockhash=tip)), b"\x51", b"tag")


@dataclass
class Node:
    """A tree of blocks by name, and what the operator declared invalid."""

    parents: dict[str, str] = field(default_factory=dict)
    invalid: set[str] = field(default_factory=set)
    names: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def chain(self, block: str) -> list[str]:
        """From this block down to genesis."""
        chain = [block]
        while chain[-1] != GENESIS:
            chain.append(self.parents[chain[-1]])
        return chain

    @property
    def tip(self) -> str:
        """The longest chain without an invalid block; of equals the one that was known first."""
        valid = [block for block in (GENESIS, *self.parents) if not self.invalid & set(self.chain(block))]
        return max(valid, key=lambda block: len(self.chain(block)))

    def template(self) -> Assembly:
        return assembly(self.tip, len(self.chain(self.tip)))

    def mine(self) -> None:
        """Somebody else finds a block."""
        self.parents[f"{next(self.names):064x}"] = self.tip

    def take(self, block: str, parent: str) -> str:
        """submitblock, with Bitcoin Core's words."""
        if block in self.parents:
            return "duplicate-invalid" if self.invalid & set(self.chain(block)) else "duplicate"
        if parent != GENESIS and parent not in self.parents:
            return "prev-blk-not-found"
        self.parents[block] = parent
        return "" if self.tip == block else "inconclusive"


class World:
    """Node, miner, and what is on its way between them."""

    def __init__(self) -> None:
        self.node = Node()
        self.machine = protocol.NodeProtocol(NODE, Network.REGTEST, lambda: 1.0)
        self.delivery = delivery.Delivery(NODE, (NODE,))
        self.manager = Manager([NODE])
        self.now = 0.0
        self.asked: dict[Ask, protocol.Event | None] = {}  # None: the node has not formed its answer yet
        self.opinion: Assembly | None = None
        self.audit: Assembly | None = None
        self.blocks: deque[FoundBlock] = deque()  # on their way to the node
        self.words: deque[tuple[FoundBlock, str]] = deque()  # on their way back
        self.jobs: list[Job] = []
        self.nonces = itertools.count()
        self.sent: Counter[bytes] = Counter()  # by parent
        self.may_send: Counter[bytes] = Counter()  # one for each job on a parent, and for each refusal
        self.decide(protocol.Start())

    # ---- the miner

    def decide(self, event: protocol.Event) -> None:
        for effect in self.machine.handle(event, self.now):
            match effect:
                case protocol.Question(ask, what):
                    self.asked[ask] = None
                    if ask is Ask.OPINION:
                        self.opinion = what
                    elif ask is Ask.AUDIT:
                        self.audit = what
                case protocol.HangUp():
                    self.fail(Ask.LONGPOLL)
                case NewJob(job):
                    self.jobs.append(job)
                    self.may_send[job.prev_hash] += 1
                    self.manage(effect)
                case SourceUp() | SourceDown():
                    self.manage(effect)

    def manage(self, event: NewJob | SourceUp | SourceDown | Answered) -> list[Effect]:
        return self.carry_out(self.manager.handle(event, self.now))

    def carry_out(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Submit):
                share = effect.share
                parent = share.job.prev_hash
                self.sent[parent] += 1
                raw = bytes(4) + parent
                name = f"{(1 << 128) + share.id:064x}"
                found = FoundBlock(name, share.job.height or 0, "regtest", 0.0, raw)
                self.deliver(delivery.Deliver(found, share.id))
        return effects

    def deliver(self, event: delivery.Event) -> None:
        for effect in self.delivery.handle(event, self.now):
            match effect:
                case delivery.Send(block):
                    self.blocks.append(block)
                case delivery.Taken(block):
                    own = OwnBlock(bytes.fromhex(block.hash)[::-1], block.raw[4:36], block.height)
                    self.decide(protocol.BlockTaken(own))
                case delivery.Settle(block):
                    pass
                case Answered(_, answer):
                    if not answer.accepted:
                        self.may_send[self.manager.pending[answer.share_id].job.prev_hash] += 1
                    self.manage(effect)

    def hit(self, job: Job) -> list[Effect]:
        """A device finds a block; what the manager does about it."""
        effects = self.carry_out(self.manager.handle(a_found(job, job.network_target, next(self.nonces)), self.now))
        return [effect for effect in effects if isinstance(effect, Submit | BlockDropped)]

    # ---- the line between them

    def form(self, ask: Ask) -> None:
        """The node makes up its answer now."""
        if ask not in self.asked or self.asked[ask] is not None:
            return
        match ask:
            case Ask.CHAIN:
                self.asked[ask] = protocol.Learned("regtest")
            case Ask.TEMPLATE | Ask.LONGPOLL:
                self.asked[ask] = protocol.Fetched(ask, self.node.template(), NOW)
            case Ask.OPINION:
                assert self.opinion is not None
                best = self.opinion.template.prev_hash == self.node.template().template.prev_hash
                verdict = None if best else "inconclusive-not-best-prevblk"
                self.asked[ask] = protocol.Opinion(self.opinion, verdict)
            case Ask.AUDIT:
                assert self.audit is not None
                self.asked[ask] = protocol.Audited(self.audit, None)

    def arrive(self, ask: Ask) -> None:
        """The answer is there, if the node has formed one."""
        if (answer := self.asked.get(ask)) is not None:
            del self.asked[ask]
            self.decide(answer)

    def fail(self, ask: Ask) -> None:
        if ask in self.asked:
            del self.asked[ask]
            self.decide(protocol.Failed(ask, SourceUnreachable("reset by peer")))

    def take(self) -> None:
        """The node looks at the oldest block on its way."""
        if self.blocks:
            block = self.blocks.popleft()
            parent = block.raw[4:36][::-1].hex()
            self.words.append((block, self.node.take(block.hash, parent)))

    def hear(self, *, lost: bool = False) -> None:
        """The node's word for a block arrives, or is lost with its connection."""
        if self.words:
            block, word = self.words.popleft()
            if lost:
                self.deliver(delivery.Unreached(block.hash, NODE, "reset by peer"))
            else:
                self.deliver(delivery.Replied(block.hash, NODE, word))

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.decide(protocol.Tick())
        self.deliver(delivery.Tick())

    def settle(self) -> None:
        """All that is on its way arrives, and time passes until a template was asked for."""
        for _ in range(100):
            self.tick(2.0)
            while self.blocks or self.words:
                self.take()
                self.hear()
            for ask in list(self.asked):
                if ask is not Ask.LONGPOLL or self.news():
                    self.form(ask)
                    self.arrive(ask)
        assert self.manager.served is not None

    def news(self) -> bool:
        watched = self.machine._watched
        return watched is not None and watched[::-1].hex() != self.node.tip


@dataclass(frozen=True)
class Step:
    kind: str
    number: int = 0


STEPS = st.lists(
    st.one_of(
        st.builds(Step, st.sampled_from(["form", "arrive", "fail"]), st.integers(min_value=0, max_value=len(Ask) - 1)),
        st.builds(Step, st.sampled_from(["take", "hear", "lose word", "mine", "settle"])),
        st.just(Step("solve")),
        st.just(Step("invalidate")),
        st.builds(Step, st.just("hit"), st.integers(min_value=0, max_value=3)),
        st.builds(Step, st.sampled_from(["invalidate", "reconsider"]), st.integers(min_value=0, max_value=5)),
        st.builds(Step, st.just("tick"), st.sampled_from([0, 1, 5, 70])),
    ),
    max_size=30,
)


def do(world: World, step: Step) -> None:
    match step.kind:
        case "form":
            world.form(list(Ask)[step.number])
        case "arrive":
            world.arrive(list(Ask)[step.number])
        case "fail":
            world.fail(list(Ask)[step.number])
        case "take":
            world.take()
        case "hear":
            world.hear()
        case "lose word":
            world.hear(lost=True)
        case "mine":
            world.node.mine()
        case "settle":
            world.settle()
        case "solve":
            world.settle()
            world.hit(world.jobs[-1])
            world.settle()
        case "invalidate":
            chain = world.node.chain(world.node.tip)[:-1]
            if chain:
                world.node.invalid.add(chain[min(step.number, len(chain) - 1)])
        case "reconsider":
            world.node.invalid.clear()
        case "tick":
            world.tick(step.number)
        case "hit":
            if step.number < len(world.jobs):
                outcome = world.hit(world.jobs[-1 - step.number])
                assert len(outcome) == 1, "a block that is neither handed in nor told"


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_a_block_on_the_nodes_tip_is_handed_in_however_the_node_came_to_that_tip(steps: list[Step]) -> None:
    world = World()
    for step in steps:
        do(world, step)
        for parent, sent in world.sent.items():
            assert sent <= world.may_send[parent], "more blocks on one parent than jobs and refusals"
    world.settle()
    served = world.manager.served
    assert served is not None and served.prev_hash[::-1].hex() == world.node.tip
    (outcome,) = world.hit(served)
    assert isinstance(outcome, Submit)


def returned(world: World) -> Job:
    """A block of ours was accepted, and the operator invalidated it."""
    world.settle()
    first = world.manager.served
    assert first is not None
    world.hit(first)
    world.settle()
    world.node.invalid.add(world.node.tip)
    world.settle()
    served = world.manager.served
    assert served is not None and served.prev_hash == first.prev_hash
    return served


def test_five_times_the_same_parent_is_five_blocks() -> None:
    world = World()
    for _ in range(5):
        (outcome,) = world.hit(returned(world))
        assert isinstance(outcome, Submit)
        world.settle()


def test_a_bar_that_is_never_lifted_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Outbox, "reopen", lambda *_: None)
    world = World()
    (outcome,) = world.hit(returned(world))
    assert isinstance(outcome, BlockDropped) and outcome.fate is Fate.WITHHELD


def test_of_a_flood_on_one_template_one_block_is_handed_in_while_the_node_thinks() -> None:
    world = World()
    world.settle()
    job = world.manager.served
    assert job is not None
    outcomes = [world.hit(job)[0] for _ in range(200)]
    world.tick(DOUBT_S - 1)
    for ask in (Ask.TEMPLATE, Ask.LONGPOLL):
        world.form(ask)
        world.arrive(ask)
    outcomes += [world.hit(world.jobs[-1])[0] for _ in range(200)]
    assert sum(isinstance(outcome, Submit) for outcome in outcomes) == 1
