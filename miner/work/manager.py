"""What is mined and what is handed in, decided without a clock, a socket or a thread.

What devices lease from:

            a source is ready: Serve(its newest job)
      IDLE ------------------------------------------> SERVING <--+ a newer job, or the strategy's other choice:
       ^                                                |   |     | Serve; replace if the old job died or its
       |   GRACE_S over: Serve(None)                    |   +-----+ source is gone
       +--------------- LINGERING <---------------------+
                        on the old job                    its source is gone and no other is ready

A source that credits nothing (`probation`) counts as ready only where no other source is.

What becomes of a job (several of a source live at once):

      NewJob --> LIVE --------------------------------------------------------> DEAD: Retire
                   replaced, previous block changed, new session,
                   source failed, or LIVE_JOBS newer ones came

What becomes of a hit:

      Found --> meets a share target of its own --> its job lives -----> Submit
            --> solves a block ----------------------------------------> Submit as a block, whatever else is true:
                                                                         one on each parent until that one is refused,
                                                                         and one that misses the share target as `bare`
                                                                         says; the others: BlockDropped
            |                          +-> its job is dead: withheld
            +-> neither: it proved the device's health                 Submit --> PENDING --> Answered, or
                                                                       UNANSWERED after ANSWER_S (blocks never)

A parent is solved from the sending of a block of ours until that block is refused, or until its source gives out a new
job on the same parent: the source does not build on our block then (`Outbox.reopen`).

Time comes in as `now`, seconds on a monotonic clock; what to do comes out as effects, in the order to do it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from miner.chain.target import DIFFICULTY_ONE, Target

from .account import Account
from .bare import BareBlocks
from .errors import UnknownSource
from .events import (
    Answered,
    BlockDropped,
    Distrust,
    Effect,
    Event,
    Fate,
    Finish,
    Found,
    MiningBegan,
    NewJob,
    Retire,
    Serve,
    SourceDown,
    SourceFailed,
    SourceUp,
    Submit,
    Tick,
    Trust,
)
from .job import Job
from .limits import Limits
from .outbox import Outbox
from .probation import SILENT_S, Probation
from .share import Answer, Reason, Share
from .strategy import Candidate, Strategy, first_ready
from .tips import Tips

LIVE_JOBS = 16  # of one source
GRACE_S = 30.0  # how long the last job of a lost source is worked on
EXHAUSTED_S = 2.0  # how long devices wait on a job without headers before another source is mined
REST_S = 60.0  # how long that lasts, unless there is a new job before


@dataclass(frozen=True, slots=True)
class Standing:
    """One source at this moment, for whoever reports."""

    name: str
    connected: bool
    active: bool
    failed: str | None
    job: Job | None  # the newest since it connected
    behind: bool  # it extends a block that another source has moved on from
    account: Account
    present: bool = True  # False: it was taken out, and only its account is left
    distrusted: str | None = None  # why it is held to credit nothing, a sentence


@dataclass(slots=True)
class _Source:
    up: bool = False
    connections: int = 0
    failed: str | None = None
    leaving: bool = False
    lost_at: float | None = None  # when it last went down
    heard_at: float = 0.0  # when it last came up or answered a share
    newest: Job | None = None  # since it connected: what is served; None: nothing to serve yet
    exhausted_since: float | None = None  # devices wait on its newest job in vain
    session: int = -1
    live: OrderedDict[int, Job] = field(default_factory=OrderedDict)  # by id, oldest first
    account: Account = field(default_factory=Account)
    probation: Probation = field(default_factory=Probation)


class Manager:
    """The state machine. Only `handle` changes it; call it, and read it, in one thread."""

    def __init__(self, sources: Sequence[str], limits: Limits | None = None, strategy: Strategy = first_ready) -> None:
        self._sources = {name: _Source() for name in sources}
        self._tips = Tips()
        self._former: dict[str, Account] = {}  # of sources that were taken out; they may come back
        self._limits = limits or Limits()
        self._strategy = strategy
        self._served: Job | None = None
        self._outbox = Outbox()
        self._bare = BareBlocks()
        self._shares: Counter[str] = Counter()
        self._best: int | None = None  # the lowest hash yet
        self._began = False
        self._resting = False
        self._mined_s = 0.0
        self._now = 0.0
        self._finished = False

    # ---- what can be read

    @property
    def served(self) -> Job | None:
        """The job that devices lease from now."""
        return self._served

    @property
    def pending(self) -> Mapping[int, Share]:
        """Shares that were sent and not answered yet, by id; a live view."""
        return self._outbox.pending

    @property
    def best_difficulty(self) -> float | None:
        """Of the best hash that any device found."""
        return None if self._best is None else DIFFICULTY_ONE / max(self._best, 1)

    @property
    def standings(self) -> tuple[Standing, ...]:
        """Every source, in configured order, and behind them those that were taken out."""
        active = self._served.source if self._served else None
        present = tuple(
            Standing(
                name,
                source.up,
                name == active,
                source.failed,
                source.newest,
                self._behind(name, source),
                source.account,
                distrusted=source.probation.reason,
            )
            for name, source in self._sources.items()
        )
        former = (
            Standing(name, False, False, None, None, False, account, present=False)
            for name, account in self._former.items()
        )
        return (*present, *former)

    def shares_of(self, device: str) -> int:
        """How many of this device's hits were worth sending."""
        return self._shares[device]

    def mining_s(self, now: float) -> float:
        """Seconds with something to hash on, since the first hash; without those in which all devices were kept off."""
        running = self._began and self._served is not None and not self._resting
        return self._mined_s + (max(0.0, now - self._now) if running else 0.0)

    # ---- the machine

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What to do about this event; raises UnknownSource for one that was not configured."""
        self._mined_s = self.mining_s(now)
        self._now = now
        distrusted = {name: source.probation.reason for name, source in self._sources.items()}
        retired: list[int] = []
        submit: list[Effect] = []
        match event:
            case SourceUp():
                self._up(self._source(event.source))
            case SourceDown():
                self._down(self._source(event.source), now)
                if event.unanswered:
                    self._source(event.source).probation.silent(event.reason, now)
            case SourceFailed():
                retired = self._fail(self._source(event.source), event.reason, now)
            case NewJob():
                retired = self._add(self._source(event.job.source), event.job, replace=event.replace)
            case Answered():
                self._settle(event.answer, now)
            case Found():
                submit = self._sort(event, now)
            case MiningBegan():
                self._began = True
            case Tick():
                self._resting = event.resting
                self._count(event.hashes)
                self._notice_exhausted(event.exhausted, now)
                self._notice_silent(now)
                for share in self._outbox.overdue(now):
                    self._abandon(share)
            case _:
                assert_never(event)
        retire: list[Effect] = [Retire(tuple(retired))] if retired else []
        return [*self._trust_changed(distrusted), *self._serve(now), *retire, *submit, *self._finish()]

    def choose_among(self, names: Sequence[str], now: float) -> list[Effect]:
        """Mine for these sources from now on, in this order; what is known of those that stay, stays.

        The others are leaving: not chosen any more, but what they were handed is still answered until `dismiss`.
        """
        leaving = {name: source for name, source in self._sources.items() if name not in names}
        for source in leaving.values():
            source.leaving = True
        self._sources = {
            name: self._sources.get(name) or _Source(account=self._former.pop(name, Account())) for name in names
        } | leaving
        return [*self._serve(now), *self._finish()]

    def dismiss(self, name: str, now: float) -> list[Effect]:
        """Forget a source that was leaving, but for its account; one that comes back under its name begins anew."""
        shares = [share for share in self.pending.values() if share.job.source == name]
        dropped = _unanswered(shares, "its source was taken out first")
        for share in shares:
            self._abandon(share)
        self._tips.forget(name)
        self._bare.forget(name)
        gone = self._sources.pop(name)
        self._former[name] = gone.account
        retire: list[Effect] = [Retire(tuple(gone.live))] if gone.live else []
        return [*self._serve(now), *retire, *dropped]  # even without any source this is not the end: others are to come

    def close(self) -> list[Effect]:
        """End the run: shares without an answer count as unanswered. Blocks stay pending, and each of them is told."""
        for share in [share for share in self.pending.values() if not share.block]:
            self._abandon(share)
        return _unanswered(self.pending.values(), "the run ended first")

    def _source(self, name: str) -> _Source:
        try:
            return self._sources[name]
        except KeyError:
            raise UnknownSource(f"no source is called {name!r}") from None

    def _count(self, hashes: Mapping[str, int]) -> None:
        """Book what was hashed for whom; work for a source that was taken out may still be reported."""
        for name, total in hashes.items():
            if (source := self._sources.get(name)) is not None:
                source.account = source.account.worked(total)
            elif (former := self._former.get(name)) is not None:
                self._former[name] = former.worked(total)

    def _notice_exhausted(self, jobs: frozenset[int], now: float) -> None:
        """Note whether the served job is exhausted. A source that was left for that is not retried for REST_S."""
        for source in self._sources.values():
            served = source.newest is not None and source.newest is self._served
            since = source.exhausted_since
            if served and source.newest is not None and source.newest.id in jobs:
                source.exhausted_since = now if since is None else since
            elif served or (since is not None and now - since >= EXHAUSTED_S + REST_S):
                source.exhausted_since = None

    def _notice_silent(self, now: float) -> None:
        """Distrust a source of any kind that has answered nothing since a share went to it long ago."""
        waiting: dict[str, float] = {}
        for share in self.pending.values():
            waiting.setdefault(share.job.source, share.found_at)
        for name, source in self._sources.items():
            source.probation.tick(now)
            since = waiting.get(name)
            if source.up and since is not None and now - max(since, source.heard_at) >= SILENT_S:
                source.heard_at = now
                source.probation.silent(f"it has answered no share for {SILENT_S:.0f} s", now)

    def _trust_changed(self, before: Mapping[str, str | None]) -> list[Effect]:
        """Which sources came to be trusted or distrusted by this event."""
        effects: list[Effect] = []
        for name, reason in before.items():
            probation = self._sources[name].probation
            if reason is None and probation.reason is not None:
                effects.append(Distrust(name, probation.reason, probation.rest_s))
            elif reason is not None and probation.reason is None:
                effects.append(Trust(name))
        return effects

    # ---- sources and their jobs

    def _up(self, source: _Source) -> None:
        if source.up:
            return
        source.up = True
        source.heard_at = self._now
        source.failed = None
        source.connections += 1
        if source.connections > 1:
            source.account = source.account.reconnected()

    def _down(self, source: _Source, now: float) -> None:
        if source.up:
            source.lost_at = now
        source.up = False
        source.newest = None

    def _fail(self, source: _Source, reason: str, now: float) -> list[int]:
        self._down(source, now)
        source.failed = reason
        retired = list(source.live)
        source.live.clear()
        return retired

    def _add(self, source: _Source, job: Job, *, replace: bool) -> list[int]:
        """Take a job in; answer which jobs it kills."""
        if job.id in source.live or job.session < source.session:
            return []
        # What no message says is still true: work on another previous block cannot win any more.
        replace = replace or any(older.prev_hash != job.prev_hash for older in source.live.values())
        if replace or job.session > source.session:
            dead = list(source.live)
        else:
            dead = list(source.live)[: max(0, len(source.live) + 1 - LIVE_JOBS)]
        for id_ in dead:
            del source.live[id_]
        source.live[job.id] = job
        source.session = job.session
        source.newest = job
        self._outbox.reopen(job, self._now)
        source.exhausted_since = None
        self._tips.saw(job.source, job.prev_hash, self._now)
        return dead

    def _serve(self, now: float) -> list[Effect]:
        """Serve what the strategy chooses; running work stops only if it has become worthless."""
        old = self._served
        job = self._choice(now)
        if job is old:
            return []
        self._served = job
        return [Serve(job, replace=old is None or job is None or not self._worth_finishing(old))]

    def _choice(self, now: float) -> Job | None:
        if self._blocks_under_way():
            return None
        staying = {name: source for name, source in self._sources.items() if not source.leaving}
        ready = {name for name, source in staying.items() if source.up and source.newest is not None}
        # One whose jobs are worthless gives way to those that offer better. Where all are, it is as if none were.
        ready = {name for name in ready if not self._tips.behind(name, now)} or ready
        ready = {name for name in ready if self._gives_work(staying[name], now)} or ready
        ready = {name for name in ready if staying[name].probation.fit(now)} or ready
        candidates = [Candidate(name, name in ready, source.account.hashes) for name, source in staying.items()]
        chosen = self._strategy(candidates, now)
        if chosen is not None:
            return self._sources[chosen].newest
        source = self._sources.get(self._served.source) if self._served else None
        if self._served is None or source is None or self._served.id not in source.live:
            return None
        if source.leaving and source.up:
            return self._served
        lost_at = source.lost_at
        return self._served if lost_at is not None and now < lost_at + GRACE_S else None

    def _behind(self, name: str, source: _Source) -> bool:
        return source.up and source.newest is not None and self._tips.behind(name, self._now)

    def _gives_work(self, source: _Source, now: float) -> bool:
        return source.exhausted_since is None or now - source.exhausted_since < EXHAUSTED_S

    def _worth_finishing(self, job: Job) -> bool:
        source = self._sources.get(job.source)
        return source is not None and source.up and job.id in source.live

    # ---- hits and shares

    def _sort(self, found: Found, now: float) -> list[Effect]:
        """Health, share or block? The last two are sent, once."""
        job = found.job
        source = self._source(job.source)
        self._best = found.hash if self._best is None else min(self._best, found.hash)
        solves, bare = found.hash <= job.network_target, found.hash > job.share_target
        if bare and not solves:
            return []
        stale = found.stale or job.id not in source.live
        # Two blocks on one parent never both count: the second one is a share like any other, while its job lives.
        block = solves and (stale or not self._outbox.carries(job, now))
        if not self._worth_sending(found, now, block=block, stale=stale):
            source.account = source.account.kept_back()
            return [self._withheld(found, now)] if solves else []
        share = self._outbox.share(found, now, block=block, stale=stale)
        if share is None:
            return []
        self._shares[found.device] += 1
        source.account = source.account.sent()
        if not bare:  # which says nothing of how the source takes shares
            source.probation.sent(now)
        if (lost := self._outbox.crowded_out()) is None:
            return [Submit(share)]
        self._abandon(lost)
        return [Submit(share), *_unanswered([lost], "too many others wait for an answer")]

    def _worth_sending(self, found: Found, now: float, *, block: bool, stale: bool) -> bool:
        """Shares of living jobs always; a hit that is nothing but a block, unless its parent has one of ours.

        Where every other hash solves a block (regtest), only this keeps the source from drowning in them.
        """
        job = found.job
        if found.hash <= job.share_target and job.share_target != job.network_target:
            return block or not stale
        if self._is_unwanted(found, now):
            return False
        return not self._outbox.solved(job) and not self._blocks_under_way()

    def _is_unwanted(self, found: Found, now: float) -> bool:
        """Whether it misses the share target of a source that refused such a block lately."""
        return found.hash > found.job.share_target and not self._bare.wanted(found.job.source, now)

    def _withheld(self, found: Found, now: float) -> BlockDropped:
        if self._is_unwanted(found, now):
            reason = "it misses the share target, and the pool refused such a block"
        elif self._outbox.solved(found.job):
            reason = "another block of ours on its parent was handed in"
        else:
            reason = "no more blocks are wanted"
        return BlockDropped.of(Fate.WITHHELD, found, reason)

    def _settle(self, answer: Answer, now: float) -> None:
        """Book an answer; one to a share that nobody waits for is not counted twice."""
        share = self._outbox.settle(answer)
        if share is None:
            return
        self._bare.answered(share, answer, now)
        source = self._sources[share.job.source]
        if answer.reason is not Reason.UNANSWERED:
            source.heard_at = now
        source.probation.answered(answer, now, replaced=share.job.id not in source.live)
        difficulty = answer.difficulty
        if difficulty is None:
            difficulty = Target(max(share.job.share_target, share.job.network_target)).difficulty
        source.account = source.account.answered(answer, difficulty, share.found_at, now)

    def _abandon(self, share: Share) -> None:
        self._outbox.abandon(share)
        source = self._sources[share.job.source]
        source.account = source.account.unanswered()

    # ---- the end

    @property
    def _accounts(self) -> list[Account]:
        return [*self._former.values(), *(source.account for source in self._sources.values())]

    def _finish(self) -> list[Effect]:
        if self._finished:
            return []
        finish = self._limit_reached() or self._nothing_left()
        self._finished = finish is not None
        return [finish] if finish else []

    def _blocks_under_way(self) -> bool:
        """Whether those that are not answered yet may be the last that are wanted: so many and no more.

        A peer that never answers one holds the devices up for DOUBT_S: the run goes on to find another.
        """
        if self._limits.blocks is None:
            return False
        return self._limits.enough_blocks(self._blocks + self._outbox.blocks(self._now))

    @property
    def _blocks(self) -> int:
        return sum(account.blocks_accepted for account in self._accounts)

    def _limit_reached(self) -> Finish | None:
        if not self._limits.any:
            return None
        shares = sum(account.accepted for account in self._accounts)
        return self._limits.reached(blocks=self._blocks, shares=shares, mined_s=self._mined_s)

    def _nothing_left(self) -> Finish | None:
        if any(source.failed is None for source in self._sources.values()):
            return None
        reasons = "; ".join(f"{name}: {source.failed}" for name, source in self._sources.items())
        return Finish(ok=False, reason=reasons or "no source of work is configured")


def _unanswered(shares: Iterable[Share], reason: str) -> list[Effect]:
    """What to tell of the blocks among these shares."""
    return [BlockDropped.of(Fate.UNANSWERED, share, reason) for share in shares if share.block]
