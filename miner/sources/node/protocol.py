"""What to ask a node next, decided without a clock, a socket or a thread.

    start -> LEARN: whose chain? -> FETCH: a template -> PROVE: would you take our block? -> MINE: longpoll, refresh
                ^                                                                             |
                |                        a question failed                                    |
                +-- AWAY: wait, longer each time, with jitter <---------------- from anywhere +
                    FAILED: wrong chain, unknown rule, ... <-- a person must act

PROVE happens once, before the first search. In MINE an answer of the longpoll, or a refresh each minute, is a new job:
in place of the old where the tip moved, beside it where it did not. While no longpoll is under way, templates are
polled. What is mined on is audited behind the search. A failure leaves the old job alone; whether it is still worth
mining is the manager's decision.

A job on the parent of an accepted block of ours means that the node does not build on that block: it was invalidated,
lost or reorganised away, and the manager lets another be sent. A template that was asked for before the block was
accepted proves nothing of the kind. It makes no job; another template is asked for instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import assert_never

from miner.chain.errors import NetworkError
from miner.chain.hashes import display
from miner.chain.network import Network
from miner.sources.base import SourceError, SourceMisconfigured
from miner.sources.node.assembly import Assembly
from miner.sources.node.ours import Displaced, OwnBlock, OwnBlocks, Restored
from miner.sources.node.rpc import RpcLoginRefused, RpcRefused
from miner.sources.node.template import RuleUnknown, unknown_rule
from miner.work.events import NewJob, SourceDown, SourceEvent, SourceFailed, SourceUp

REFRESH_S = 60.0  # a template is asked for anew when it is this old
POLL_S = 2.0  # the same while no longpoll is under way
PACE_S = 5.0  # from a longpoll's answer to the next, so that no node keeps us running in circles
MOVED_PACE_S = 0.1  # the same where the answer was a new tip
DEAF_S = 10.0  # a longpoll that has not noticed a new tip after so long never will
OLD_S = 150.0  # a template that could not be refreshed for so long is not mined on
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
CLOCK_OFF_S = 600
REFUSALS = 3  # of our block in PROVE, until a person must act: the first may be due to a transaction

_WARMING_UP, _NO_PEERS, _SYNCING = -28, -9, -10
_BAD_PARAMETER, _NO_SUCH_METHOD = -8, -32601
NOT_READY = {
    _WARMING_UP: "the node is starting up",
    _NO_PEERS: "the node has no peers yet",
    _SYNCING: "the node is still downloading the chain",
}


class Ask(Enum):
    """A question for the node; the shell knows the methods, parameters and connections."""

    CHAIN = auto()
    TEMPLATE = auto()
    LONGPOLL = auto()  # a template as well, when there is news
    OPINION = auto()  # proposal mode
    AUDIT = auto()  # no question to the node, but to the reader: is the template sound in every transaction?


# ---- events


@dataclass(frozen=True, slots=True)
class Start:
    """Begin."""


@dataclass(frozen=True, slots=True)
class Learned:
    """CHAIN was answered: what the node calls its chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """TEMPLATE or LONGPOLL was answered, read and assembled. `wall` is our Unix time of it."""

    ask: Ask
    assembly: Assembly
    wall: float


@dataclass(frozen=True, slots=True)
class Opinion:
    """OPINION was answered: None for "I would take it"."""

    assembly: Assembly
    reason: str | None


@dataclass(frozen=True, slots=True)
class Audited:
    """AUDIT is done; `error` says what is wrong with the template."""

    assembly: Assembly
    error: SourceError | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A question was not answered as it should be."""

    ask: Ask
    error: SourceError


@dataclass(frozen=True, slots=True)
class BlockTaken:
    """The node accepted this block of ours: it should be the new tip."""

    block: OwnBlock


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Start | Learned | Fetched | Opinion | Audited | Failed | BlockTaken | Tick


# ---- effects, next to SourceEvent to be posted


@dataclass(frozen=True, slots=True)
class Question:
    """Put this to the node; at most one of each kind is under way."""

    ask: Ask
    assembly: Assembly | None = None  # for OPINION and AUDIT
    longpoll_id: str | None = None  # for LONGPOLL


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the longpoll that is under way."""


@dataclass(frozen=True, slots=True)
class HandIn:
    """Hand in blocks of earlier: those never answered, and answered ones from a height on if it is given."""

    settled_from: int | None = None


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the operator something that stops nothing."""

    event: str
    text: str


Effect = Question | HangUp | HandIn | Warn | Displaced | Restored | SourceEvent


class _Phase(Enum):
    LEARN = auto()
    FETCH = auto()
    PROVE = auto()
    MINE = auto()
    AWAY = auto()
    FAILED = auto()


@dataclass(slots=True)
class NodeProtocol:
    """One node's state machine; `jitter` answers a number from 0.5 to 1."""

    source: str
    network: Network
    jitter: Callable[[], float]
    _phase: _Phase = _Phase.LEARN
    _asked: dict[Ask, set[bytes]] = field(default_factory=dict)  # under way; parents of our blocks taken meanwhile
    _current: Assembly | None = None  # what is mined
    _ours: OwnBlocks = field(default_factory=OwnBlocks)
    _fetched_at: float = 0.0
    _moved_at: float = 0.0  # when the tip last moved
    _doubted: bytes | None = None  # a tip below the current one, heard of once
    _proven: bool = False
    _refusals: int = 0
    _up: bool = False
    _wait: float = FIRST_WAIT_S
    _retry_at: float = 0.0
    _watched: bytes | None = None  # the tip whose end the longpoll waits for
    _longpoll_wait: float = FIRST_WAIT_S
    _longpoll_from: float = 0.0  # no longpoll before
    _handed_in: bool = False
    _clock_warned: bool = False
    _jobs: int = 0

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event and answer what to do; `now` on the monotonic clock."""
        if self._phase is _Phase.FAILED:
            return []
        match event:
            case Start():
                return self._question(Ask.CHAIN)
            case Learned(chain):
                return self._learned(chain)
            case Fetched():
                return self._fetched(event, now)
            case Opinion():
                return self._opinion(event, now)
            case Audited(assembly, error):
                return self._audited(assembly, error, now)
            case Failed(ask, error):
                return self._failed(ask, error, now)
            case BlockTaken(block):
                self._ours.taken(block)
                for taken in self._asked.values():
                    taken.add(block.parent)
                return self._question(Ask.TEMPLATE) if self._phase is _Phase.MINE else []
            case Tick():
                return self._tick(now)
            case _:
                assert_never(event)

    # ---- answers

    def _learned(self, chain: str) -> list[Effect]:
        self._asked.pop(Ask.CHAIN, None)
        try:
            follows = Network.from_chain(chain)
        except NetworkError as error:
            return self._give_up(f"the node follows a chain of its own: {error}")
        if follows is not self.network:
            return self._give_up(
                f"the node follows {follows.label}, the payout address is for {self.network.label}: "
                "point --pool at another node or give an address (and --network) of this one"
            )
        if self._phase is _Phase.LEARN:
            self._phase = _Phase.FETCH
        effects: list[Effect] = [] if self._handed_in else [HandIn()]
        self._handed_in = True
        return [*effects, *self._question(Ask.TEMPLATE)]

    def _fetched(self, event: Fetched, now: float) -> list[Effect]:
        taken = self._asked.pop(event.ask, frozenset[bytes]())
        effects = self._check_clock(event)
        template = event.assembly.template
        if event.ask is Ask.LONGPOLL:
            moved = template.prev_hash != self._watched
            self._longpoll_from = now + (MOVED_PACE_S if moved else PACE_S)
            self._longpoll_wait = FIRST_WAIT_S
        if self._phase is _Phase.AWAY:
            return effects  # what made us leave is not over for that
        if template.prev_hash in taken:  # it may have been made before our block arrived: asked again, it will be clear
            return [*effects, *self._question(Ask.TEMPLATE)]
        if self._up and self._is_below(event.assembly) and self._doubted != template.prev_hash:
            # An answer that another one has overtaken, or a node that lost blocks: asked again, it will be clear.
            self._doubted = template.prev_hash
            return [*effects, *self._question(Ask.TEMPLATE)]
        self._fetched_at = now
        if not self._proven and template.can_propose:
            self._phase = _Phase.PROVE
            return [*effects, *self._question(Ask.OPINION, assembly=event.assembly)]
        return [*effects, *self._mine(event.assembly, now)]

    def _opinion(self, opinion: Opinion, now: float) -> list[Effect]:
        self._asked.pop(Ask.OPINION, None)
        if opinion.reason is None:
            self._proven = True
            return self._mine(opinion.assembly, now)
        if opinion.reason == "inconclusive-not-best-prevblk":  # the tip moved while we asked
            self._phase = _Phase.FETCH
            return self._question(Ask.TEMPLATE)
        self._refusals += 1
        reason = f"the node would not take a block of ours: {opinion.reason}"
        return self._give_up(reason) if self._refusals >= REFUSALS else self._away(reason, now)

    def _mine(self, assembly: Assembly, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if self._current is None or self._is_below(assembly):
            effects.append(HandIn(settled_from=assembly.template.height))  # the node may have forgotten some
        effects += self._ours.follow(assembly.template.prev_hash, assembly.template.height)
        previous, self._current = self._current, assembly
        replace = previous is None or previous.template.prev_hash != assembly.template.prev_hash
        if replace:
            self._moved_at = now
        self._phase, self._doubted = _Phase.MINE, None
        if not self._up:
            self._up = True
            effects.append(SourceUp(self.source))
        self._jobs += 1
        key = f"{display(assembly.template.prev_hash)[-8:]}.{self._jobs}"
        effects.append(NewJob(assembly.job(self.source, 1, key, now), replace=replace))
        return [*effects, *self._longpoll(now), *self._question(Ask.AUDIT, assembly=assembly)]

    def _audited(self, assembly: Assembly, error: SourceError | None, now: float) -> list[Effect]:
        self._asked.pop(Ask.AUDIT, None)
        if assembly is not self._current:
            return self._question(Ask.AUDIT, assembly=self._current)
        if error is not None:
            return self._away(str(error), now)
        self._wait = FIRST_WAIT_S
        return []

    def _failed(self, ask: Ask, error: SourceError, now: float) -> list[Effect]:
        self._asked.pop(ask, None)
        if self._is_final(error):
            return self._give_up(sentence(error))
        if ask is Ask.LONGPOLL:  # what is wrong shows again at the next question, if it lasts
            self._longpoll_from = now + self._longpoll_wait * self.jitter()
            self._longpoll_wait = min(2 * self._longpoll_wait, LONGEST_WAIT_S)
            return []
        return self._away(sentence(error), now)

    def _is_final(self, error: SourceError) -> bool:
        """Whether a person must act. What was mined on once comes back, whatever a node says in its hard hours."""
        if isinstance(error, RuleUnknown) or _names_a_rule(error):
            return True
        if self._jobs:
            return False
        if isinstance(error, RpcRefused):
            return error.code == _NO_SUCH_METHOD
        return isinstance(error, SourceMisconfigured) or (isinstance(error, RpcLoginRefused) and not error.renews)

    def _is_below(self, assembly: Assembly) -> bool:
        return self._current is not None and assembly.template.height < self._current.template.height

    # ---- time

    def _tick(self, now: float) -> list[Effect]:
        match self._phase:
            case _Phase.AWAY if now >= self._retry_at:
                self._phase = _Phase.LEARN
                return self._question(Ask.CHAIN)
            case _Phase.MINE:
                return [*self._refresh(now), *self._longpoll(now)]
        return []

    def _refresh(self, now: float) -> list[Effect]:
        age = now - self._fetched_at
        if age >= OLD_S and self._up:
            self._up = False
            return [SourceDown(self.source, f"no template for {age:.0f} s"), *self._question(Ask.TEMPLATE)]
        patience = REFRESH_S if Ask.LONGPOLL in self._asked else POLL_S
        return self._question(Ask.TEMPLATE) if age >= patience else []

    def _longpoll(self, now: float) -> list[Effect]:
        assert self._current is not None
        template = self._current.template
        if Ask.LONGPOLL in self._asked:
            deaf = self._watched != template.prev_hash and now - self._moved_at >= DEAF_S
            return [HangUp()] if deaf else []  # until it has ended: one that still connects cannot be hung up on
        if template.longpoll_id is None or now < self._longpoll_from:
            return []
        self._watched = template.prev_hash
        return self._question(Ask.LONGPOLL, longpoll_id=template.longpoll_id)

    # ---- ways out

    def _away(self, reason: str, now: float) -> list[Effect]:
        self._phase = _Phase.AWAY
        self._retry_at = now + self._wait * self.jitter()
        self._wait = min(2 * self._wait, LONGEST_WAIT_S)
        self._up = False
        return [SourceDown(self.source, reason)]

    def _give_up(self, reason: str) -> list[Effect]:
        self._phase = _Phase.FAILED
        return [HangUp(), SourceFailed(self.source, reason)]

    def _question(self, ask: Ask, *, assembly: Assembly | None = None, longpoll_id: str | None = None) -> list[Effect]:
        if ask in self._asked:
            return []
        self._asked[ask] = set()
        return [Question(ask, assembly, longpoll_id)]

    def _check_clock(self, event: Fetched) -> list[Effect]:
        off = event.assembly.template.curtime - event.wall
        if abs(off) <= CLOCK_OFF_S or self._clock_warned:
            return []
        self._clock_warned = True
        text = f"the node's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours: set one of them right"
        return [Warn("clock_off", text)]


def _names_a_rule(error: SourceError) -> bool:
    """Whether the node refuses to make templates for somebody who does not know its rules."""
    return isinstance(error, RpcRefused) and error.code == _BAD_PARAMETER and "rule" in error.message


def sentence(error: SourceError) -> str:
    """What an operator reads."""
    if not isinstance(error, RpcRefused):
        return str(error)
    if error.code in NOT_READY:
        return f"{NOT_READY[error.code]}: {error.message}"
    if error.code == _NO_SUCH_METHOD:
        return f"the node cannot make templates: {error.message}"
    if _names_a_rule(error):
        return f"{unknown_rule('a further rule')}. It says: {error.message}"
    return str(error)
