"""Found blocks on their way to every node, until each has answered. Decides without a clock or a socket.

    found (on disk already) -> sent to all nodes at once -> answered by each, or sent again after a wait
                                                         -> the first "yes" answers the share
                                                         -> the last answer settles the journal

"duplicate" is a yes: the node has the block. A transport failure is no answer. A missing parent is none for ten
minutes: the node is behind, or was killed before it had written its last blocks. A node that is back gets what waits
for it at once. After ten minutes a further node that never answered is given up, once some node took the block or the
first node, whose templates are mined, has judged it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import assert_never

from miner.sources.node.journal import FoundBlock
from miner.sources.solo import PARENT_MISSING, reason_of
from miner.work.events import Answered
from miner.work.share import Answer

FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 15.0
ENOUGH_S = 600.0  # a block that is decided is not carried to unreachable others for longer
_YES = frozenset({"", "duplicate"})


@dataclass(frozen=True, slots=True)
class Deliver:
    """A block to hand in; `share_id` None for one left over from an earlier run."""

    block: FoundBlock
    share_id: int | None


@dataclass(frozen=True, slots=True)
class Replied:
    """A node answered submitblock: "" for accepted, otherwise its word."""

    block_hash: str
    node: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Unreached:
    """A node could not be asked."""

    block_hash: str
    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reachable:
    """This node answers again after an absence: what waits to be sent to it need not wait longer."""

    node: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Deliver | Replied | Unreached | Reachable | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: hand the block to this node, on this node's own connection."""

    block: FoundBlock
    node: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Effect: the block's fate is known; the journal need not keep it for the next start."""

    block: FoundBlock


@dataclass(frozen=True, slots=True)
class Taken:
    """Effect: the first node, whose templates are mined, has accepted the block or knew it already."""

    block: FoundBlock


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Effect: the block is not handed to this further node any more, which never answered."""

    block: FoundBlock
    node: str


Effect = Send | Settle | Taken | GaveUp | Answered


@dataclass(slots=True)
class _Parcel:
    block: FoundBlock
    share_id: int | None
    since: float
    waiting: dict[str, float]  # node -> when to send again; infinite while an answer is awaited
    pause: dict[str, float] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def accepted(self) -> bool:
        return any(verdict in _YES for verdict in self.answers.values())


@dataclass(slots=True)
class Delivery:
    """All blocks under way. `nodes` in order of trust: the first is the one whose templates are mined."""

    source: str
    nodes: tuple[str, ...]
    _parcels: dict[str, _Parcel] = field(default_factory=dict)

    @property
    def unanswered(self) -> int:
        """How many blocks no node has taken yet."""
        return len(self.untaken)

    @property
    def untaken(self) -> list[FoundBlock]:
        """The blocks that no node has taken yet."""
        return [parcel.block for parcel in self._parcels.values() if not parcel.accepted]

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event and answer what to do; `now` on the monotonic clock."""
        match event:
            case Deliver(block, share_id):
                if block.hash in self._parcels:
                    return []
                self._parcels[block.hash] = _Parcel(block, share_id, now, dict.fromkeys(self.nodes, float("inf")))
                return [Send(block, node) for node in self.nodes]
            case Replied(block_hash, node, verdict):
                return self._replied(block_hash, node, verdict, now)
            case Unreached(block_hash, node, _):
                return self._unreached(block_hash, node, now)
            case Reachable(node):
                for parcel in self._parcels.values():
                    if parcel.waiting.get(node, float("inf")) < float("inf"):
                        parcel.waiting[node] = now
                        parcel.pause.pop(node, None)
                return self._due(now)
            case Tick():
                return self._due(now)
            case _:
                assert_never(event)

    def _replied(self, block_hash: str, node: str, verdict: str, now: float) -> list[Effect]:
        parcel = self._parcels.get(block_hash)
        if parcel is None or node not in parcel.waiting:
            return []
        verdict = plain(verdict)
        if verdict == PARENT_MISSING and now - parcel.since < ENOUGH_S:
            return self._unreached(block_hash, node, now)
        del parcel.waiting[node]
        first_yes = verdict in _YES and not parcel.accepted
        parcel.answers[node] = verdict
        effects: list[Effect] = [Taken(parcel.block)] if verdict in _YES and node == self.nodes[0] else []
        if first_yes and parcel.share_id is not None:
            effects.append(Answered(self.source, Answer(parcel.share_id, accepted=True, block=True, text=verdict)))
        return effects if parcel.waiting else effects + self._conclude(parcel)

    def _conclude(self, parcel: _Parcel) -> list[Effect]:
        """No more answers are waited for."""
        del self._parcels[parcel.block.hash]
        effects: list[Effect] = [Settle(parcel.block)]
        if parcel.share_id is not None and not parcel.accepted:
            verdict = next(parcel.answers[node] for node in self.nodes if node in parcel.answers)
            answer = Answer(parcel.share_id, accepted=False, block=True, reason=reason_of(verdict), text=verdict)
            effects.append(Answered(self.source, answer))
        return effects

    def _unreached(self, block_hash: str, node: str, now: float) -> list[Effect]:
        parcel = self._parcels.get(block_hash)
        if parcel is not None and node in parcel.waiting:
            pause = parcel.pause.get(node, FIRST_WAIT_S)
            parcel.waiting[node] = now + pause
            parcel.pause[node] = min(2 * pause, LONGEST_WAIT_S)
        return []

    def _due(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for parcel in list(self._parcels.values()):
            if now - parcel.since >= ENOUGH_S and (parcel.accepted or self.nodes[0] in parcel.answers):
                effects += [GaveUp(parcel.block, node) for node in parcel.waiting]
                effects += self._conclude(parcel)
                continue
            for node, at in parcel.waiting.items():
                if at <= now:
                    parcel.waiting[node] = float("inf")
                    effects.append(Send(parcel.block, node))
        return effects


def plain(verdict: str) -> str:
    """A node's word for a block, without the prefix that bcoin puts before it."""
    return verdict.removeprefix("rejected: ")


def is_yes(verdict: str) -> bool:
    """Whether a node that answers this has the block: it took it now, or had it before."""
    return plain(verdict) in _YES
