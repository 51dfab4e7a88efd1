"""What to ask a node next, decided without a clock, a socket or a thread.

                     +--------------- failed: wait, longer each time, with jitter ---------------+
                     v                                                                           |
    start -> LEARN: whose chain? -> FETCH: a template -> PROVE: would you take our block? -> MINE: longpoll, refresh
                     |                                                  |
                     +--> FAILED: wrong chain, unknown rule, forbidden <-+--  a person must act

PROVE happens once, before the first search. In MINE an answer of the longpoll, or a refresh each minute, is a new job:
in place of the old where the tip moved, beside it where it did not. Without a longpoll, or after it failed, templates
are polled. A failure leaves the old job alone; whether it is still worth mining is the manager's decision.
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
from miner.sources.node.rpc import RpcLoginRefused, RpcRefused
from miner.sources.node.template import unknown_rule
from miner.work.events import NewJob, SourceDown, SourceEvent, SourceFailed, SourceUp

REFRESH_S = 60.0  # a template is asked for anew when it is this old
POLL_S = 2.0  # the same where the node offers no longpoll
OLD_S = 150.0  # a template that could not be refreshed for so long is not mined on
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
CLOCK_OFF_S = 600

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

    reason: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A question was not answered as it should be."""

    ask: Ask
    error: SourceError


@dataclass(frozen=True, slots=True)
class BlockTaken:
    """One of our own blocks was accepted: there is a new tip."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Start | Learned | Fetched | Opinion | Failed | BlockTaken | Tick


# ---- effects, next to SourceEvent to be posted


@dataclass(frozen=True, slots=True)
class Question:
    """Put this to the node; at most one of each kind is under way."""

    ask: Ask
    assembly: Assembly | None = None  # for OPINION
    longpoll_id: str | None = None  # for LONGPOLL


@dataclass(frozen=True, slots=True)
class Warn:
    """Tell the operator something that stops nothing."""

    event: str
    text: str


Effect = Question | Warn | SourceEvent


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
    chain_seen: str | None = None  # after LEARN
    _phase: _Phase = _Phase.LEARN
    _asked: set[Ask] = field(default_factory=set)
    _current: Assembly | None = None
    _fetched_at: float = 0.0
    _proven: bool = False
    _up: bool = False
    _met: bool = False  # whether the node ever answered anything
    _wait: float = FIRST_WAIT_S
    _retry_at: float = 0.0
    _polling: bool = False  # the longpoll failed since the last template
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
            case Opinion(reason):
                return self._opinion(reason, now)
            case Failed(ask, error):
                return self._failed(ask, error, now)
            case BlockTaken():
                return self._question(Ask.TEMPLATE) if self._phase is _Phase.MINE else []
            case Tick():
                return self._tick(now)
            case _:
                assert_never(event)

    # ---- answers

    def _learned(self, chain: str) -> list[Effect]:
        self._asked.discard(Ask.CHAIN)
        self._met = True
        try:
            follows = Network.from_chain(chain)
        except NetworkError as error:
            return self._give_up(f"the node follows a chain of its own: {error}")
        if follows is not self.network:
            return self._give_up(
                f"the node follows {follows.label}, the payout address is for {self.network.label}: "
                "point --pool at another node or give an address (and --network) of this one"
            )
        self.chain_seen = chain
        self._phase = _Phase.FETCH
        return self._question(Ask.TEMPLATE)

    def _fetched(self, event: Fetched, now: float) -> list[Effect]:
        self._asked.discard(event.ask)
        if self._phase is _Phase.AWAY:  # the longpoll's connection is a way back as well
            self._phase = _Phase.FETCH
        self._fetched_at = now
        effects = self._check_clock(event)
        if not self._proven and event.assembly.template.can_propose:
            self._phase = _Phase.PROVE
            self._current = event.assembly
            return [*effects, *self._question(Ask.OPINION, assembly=event.assembly)]
        return [*effects, *self._mine(event.assembly, now)]

    def _opinion(self, reason: str | None, now: float) -> list[Effect]:
        self._asked.discard(Ask.OPINION)
        assert self._current is not None
        if reason is None:
            self._proven = True
            assembly, self._current = self._current, None
            return self._mine(assembly, now)
        if reason == "inconclusive-not-best-prevblk":  # the tip moved while we asked
            self._phase = _Phase.FETCH
            return self._question(Ask.TEMPLATE)
        return self._give_up(f"the node would not take a block of ours: {reason}")

    def _mine(self, assembly: Assembly, now: float) -> list[Effect]:
        effects: list[Effect] = []
        previous, self._current = self._current, assembly
        replace = previous is None or previous.template.prev_hash != assembly.template.prev_hash
        self._phase, self._wait = _Phase.MINE, FIRST_WAIT_S
        if not self._up:
            self._up = True
            effects.append(SourceUp(self.source))
        self._jobs += 1
        key = f"{display(assembly.template.prev_hash)[-8:]}.{self._jobs}"
        effects.append(NewJob(assembly.job(self.source, 1, key, now), replace=replace))
        return effects + self._longpoll()

    def _failed(self, ask: Ask, error: SourceError, now: float) -> list[Effect]:
        self._asked.discard(ask)
        if isinstance(error, SourceMisconfigured):
            return self._give_up(str(error))
        if ask is Ask.LONGPOLL:
            # Its time-out is ordinary: nothing new for a while. Any other failure shows again at the next question.
            self._polling = True
            return []
        if isinstance(error, RpcLoginRefused) and not self._met:
            return self._give_up(str(error))
        if isinstance(error, RpcRefused):
            if error.code == _NO_SUCH_METHOD:
                return self._give_up(f"the node cannot make templates: {error.message}")
            if error.code == _BAD_PARAMETER and "rule" in error.message:  # nodes refuse who does not know their rules
                return self._give_up(f"{unknown_rule('a further rule')}. It says: {error.message}")
            self._met = True
        return self._away(_sentence(error), now)

    # ---- time

    def _tick(self, now: float) -> list[Effect]:
        match self._phase:
            case _Phase.AWAY if now >= self._retry_at:
                self._phase = _Phase.LEARN
                return self._question(Ask.CHAIN)
            case _Phase.MINE:
                assert self._current is not None
                age = now - self._fetched_at
                if age >= OLD_S and self._up:
                    self._up = False
                    return [SourceDown(self.source, f"no template for {age:.0f} s"), *self._question(Ask.TEMPLATE)]
                patience = POLL_S if self._polling or self._current.template.longpoll_id is None else REFRESH_S
                if age >= patience:
                    return self._question(Ask.TEMPLATE)
        return []

    # ---- ways out

    def _away(self, reason: str, now: float) -> list[Effect]:
        self._phase = _Phase.AWAY
        self._retry_at = now + self._wait * self.jitter()
        self._wait = min(2 * self._wait, LONGEST_WAIT_S)
        self._up = False
        return [SourceDown(self.source, reason)]

    def _give_up(self, reason: str) -> list[Effect]:
        self._phase = _Phase.FAILED
        return [SourceFailed(self.source, reason)]

    def _longpoll(self) -> list[Effect]:
        assert self._current is not None
        longpoll_id = self._current.template.longpoll_id
        self._polling = False
        return self._question(Ask.LONGPOLL, longpoll_id=longpoll_id) if longpoll_id else []

    def _question(self, ask: Ask, *, assembly: Assembly | None = None, longpoll_id: str | None = None) -> list[Effect]:
        if ask in self._asked:
            return []
        self._asked.add(ask)
        return [Question(ask, assembly, longpoll_id)]

    def _check_clock(self, event: Fetched) -> list[Effect]:
        off = event.assembly.template.curtime - event.wall
        if abs(off) <= CLOCK_OFF_S or self._clock_warned:
            return []
        self._clock_warned = True
        text = f"the node's clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} ours: set one of them right"
        return [Warn("clock_off", text)]


def _sentence(error: SourceError) -> str:
    if isinstance(error, RpcRefused) and error.code in NOT_READY:
        return f"{NOT_READY[error.code]}: {error.message}"
    return str(error)
