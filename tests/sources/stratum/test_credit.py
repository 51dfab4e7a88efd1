"""A virtual pool that credits nothing beside a healthy one: where the devices are, and what is lost. Fake clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

import pytest

from backends.base import Hit, Work
from miner.chain.hashes import sha256d
from miner.chain.header import Header
from miner.sources.stratum.effects import Effect as PoolEffect
from miner.sources.stratum.effects import Ending, Leave, Say
from miner.sources.stratum.pool import Pool
from miner.work.account import Account
from miner.work.events import (
    Answered,
    Distrust,
    Effect,
    Event,
    Found,
    NewJob,
    SourceDown,
    SourceUp,
    Submit,
    Tick,
    Trust,
)
from miner.work.job import CoinbaseParts, Job
from miner.work.manager import Manager
from miner.work.strategy import Failover
from tests.sources.stratum.talk import WALL, options
from tests.virtual.pool_faults import SPELLS
from tests.virtual.pool_model import Pool as Model
from tests.virtual.pool_session import Session
from tests.virtual.pool_terms import Terms

MOVED_S = 40
AWAY_S = 1  # between two connections
NAMES = ("first", "second")


@dataclass
class Clock:
    now: float = 0.0
    due: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def wall(self) -> float:
        return WALL + self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
        calls = [call for at, call in self.due if at <= self.now]
        self.due = [(at, call) for at, call in self.due if at > self.now]
        for call in calls:
            call()


class Line:
    """One of our pools, a virtual pool, and the connection between them."""

    def __init__(self, name: str, clock: Clock, tell: Callable[[Event], None]) -> None:
        self.pool = Pool(options(label=name))
        self.model = Model(Terms(difficulty=2.0**-28, every_s=None), clock.wall)
        self.said: list[Say] = []
        self.connections = 0
        self._clock = clock
        self._tell = tell
        self._session: Session | None = None
        self._back_at = 0.0

    # ---- the virtual pool's wire

    def write(self, data: bytes) -> None:
        self._do(self.pool.receive(data, self._clock.now, self._clock.wall()))

    def close(self) -> None:
        self._leave(Leave(Ending.CLOSED, ""))

    reset = close

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        session = self._session
        self._clock.due.append((self._clock.now + delay_s, lambda: call() if session is self._session else None))

    # ---- what drives it

    def tick(self) -> None:
        if self._session is None and self._clock.now >= self._back_at:
            self.connections += 1
            self.pool.connected(3333, self._clock.now)
            self._session = self.model.connect(self)
            self.flush()
        self._do(self.pool.tick(self._clock.now, self._clock.wall()))

    def submit(self, effect: Submit) -> None:
        self._do(self.pool.submit(effect.share, self._clock.now))

    def flush(self) -> None:
        while self._session is not None and (data := self.pool.data_to_send()):
            self._session.receive(data)

    def _do(self, effects: list[PoolEffect]) -> None:
        for effect in effects:
            match effect:
                case Leave():
                    self._leave(effect)
                case Say():
                    self.said.append(effect)
                case SourceUp() | SourceDown() | NewJob() | Answered():
                    self._tell(effect)

    def _leave(self, leave: Leave) -> None:
        if self._session is not None:
            self.model.lost(self._session)
            self._session, self._back_at = None, self._clock.now + AWAY_S
            self._do(self.pool.disconnected(leave.ending, leave.text, self._clock.now)[0])


class Farm:
    """A manager over two virtual pools, and a device that finds a share each second."""

    def __init__(self, names: tuple[str, ...] = NAMES) -> None:
        self.clock = Clock()
        self.manager = Manager(names, strategy=Failover())
        self.told: list[tuple[float, Effect]] = []
        self.lines = {name: Line(name, self.clock, self.tell) for name in names}
        self._numbers = itertools.count(1)

    def tell(self, event: Event) -> None:
        for effect in self.manager.handle(event, self.clock.now):
            if isinstance(effect, Submit):
                self.lines[effect.share.job.source].submit(effect)
            elif isinstance(effect, (Distrust, Trust)):
                self.told.append((self.clock.now, effect))

    @property
    def served(self) -> str:
        assert self.manager.served is not None
        return self.manager.served.source

    def mine(self, seconds: int) -> None:
        for _ in range(seconds):
            self._second()

    def mine_until(self, name: str, at_most_s: int) -> float:
        """Mine until the devices work for this pool; the seconds it took."""
        began = self.clock.now
        while self.served != name:
            assert self.clock.now - began < at_most_s
            self._second()
        return self.clock.now - began

    def _second(self) -> None:
        for _ in range(2):
            self.clock.advance(0.5)
            for line in self.lines.values():
                line.tick()
            self.tell(Tick(MappingProxyType({})))
        if self.manager.served is not None:
            self.tell(self._find(self.manager.served))
        for line in self.lines.values():
            line.flush()
            if self.clock.now % 10 == 0:
                line.model.new_job()

    def _find(self, job: Job) -> Found:
        assert isinstance(job.body, CoinbaseParts)
        extranonce2 = next(self._numbers).to_bytes(4, "little")
        root = job.body.merkle_root(extranonce2)
        for nonce in itertools.count():
            header = Header(job.version, job.prev_hash, root, job.ntime, job.nbits, nonce).pack()
            number = int.from_bytes(sha256d(header), "little")
            if number <= job.share_target:
                break
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
            target=job.share_target,
        )
        return Found("cpu:0", Hit(work, nonce, job.version, job.ntime), job, extranonce2, number, stale=False)

    def begin(self) -> None:
        """Both pools are up and the first is mined."""
        self.mine(30)
        assert self.served == "first"
        assert self.account("first").accepted > 20

    def account(self, name: str) -> Account:
        return next(standing.account for standing in self.manager.standings if standing.name == name)


@pytest.mark.parametrize("spell", ["frozen", "receiving half dead", "refuses everything"])
def test_work_moves_within_forty_seconds_no_more_is_lost_and_it_goes_back_when_the_pool_thaws(spell: str) -> None:
    farm = Farm()
    farm.begin()
    first, second = farm.lines.values()
    submitted = farm.account("first").submitted
    first.model.always("mining.submit", SPELLS[spell])
    assert farm.mine_until("second", MOVED_S) >= 15.0
    farm.mine(150)
    lost = farm.account("first").submitted - submitted
    assert lost <= MOVED_S
    assert farm.account("second").accepted >= 150 - 10
    (standing, _) = farm.manager.standings
    assert standing.distrusted is not None
    first.model.heal()
    farm.mine_until("first", 400)
    farm.mine(30)
    assert farm.served == "first"
    assert isinstance(farm.told[-1][1], Trust)
    assert not second.model.books.accounts["me.rig"].rejected


def test_a_pool_of_long_latency_keeps_the_devices() -> None:
    farm = Farm()
    farm.lines["first"].model.always("mining.submit", SPELLS["long latency"])
    farm.mine(100)
    assert farm.served == "first"
    assert farm.lines["first"].connections == 1
    assert farm.account("first").accepted > 80
    assert not farm.told


def test_the_only_pool_is_mined_on_and_dialled_again_while_it_is_frozen() -> None:
    farm = Farm(("only",))
    farm.mine(10)
    farm.lines["only"].model.always("mining.submit", SPELLS["frozen"])
    farm.mine(300)
    assert farm.served == "only"
    assert 3 <= farm.lines["only"].connections <= 8
    farm.lines["only"].model.heal()
    farm.mine(3)
    accepted = farm.account("only").accepted
    farm.mine(10)
    assert farm.account("only").accepted >= accepted + 9
    assert isinstance(farm.told[-1][1], Trust)
