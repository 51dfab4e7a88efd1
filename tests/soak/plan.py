"""What goes wrong, by seed: each pool alternates between calm and storm, and a storm is one mischief after another.

Besides what a pool can do to its clients while it runs (tests/virtual/pool_faults.py), whole servers come to harm here:
they are gone for a while, present bad certificates, take connections and say nothing.
"""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tests.soak.journal import WatchedPool
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import MISCHIEF, Close, Deaf, Late, Reset
from tests.virtual.pool_model import CONNECT
from tests.virtual.pool_terms import Resume

CALM_S = (3.0, 75.0)  # a connection that lasts a minute makes the next pause short again
STORM_S = (8.0, 40.0)
BETWEEN_S = 1.5  # in the mean, within a storm
FLOOD = 2.0**-22
REMOTE = 2.0**40


@dataclass(slots=True)
class Weather:
    """One pool's; a thread of its own until `clear`."""

    pool: VirtualPool
    model: WatchedPool
    siblings: Sequence[VirtualPool]
    rng: random.Random
    difficulty: float
    bad_tls: ssl.SSLContext | None = None
    calm_s: tuple[float, float] = CALM_S
    counts: Counter[str] = field(default_factory=Counter)
    errors: list[BaseException] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._blow, name=f"weather-{self.model.name}")
        self._thread.start()

    def clear(self) -> None:
        """End it; the pool is honest from now on. Raises what went wrong in here."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self.errors:
            raise self.errors[0]
        self.pool.heal()
        self._honest()

    def _blow(self) -> None:
        try:
            while not self._over.is_set():
                self._over.wait(self.rng.uniform(*self.calm_s))
                end = time.monotonic() + self.rng.uniform(*STORM_S)
                while time.monotonic() < end and not self._over.wait(self.rng.expovariate(1 / BETWEEN_S)):
                    self._one()
                self.pool.heal()
                self._honest()
        except BaseException as error:  # noqa: BLE001 - raised by clear()
            self.errors.append(error)

    def _one(self) -> None:
        if self.rng.random() < 0.6:
            self.counts[self.pool.misbehave(self.rng, MISCHIEF).name] += 1
            return
        kinds = self._kinds()
        name = self.rng.choice(sorted(kinds))
        if name == "flood of shares" and self.rng.random() < 0.8:
            name = "difficulty"  # after a flood nothing can be said of losses for minutes: let it be rare
        self.counts[name] += 1
        kinds[name]()

    def _kinds(self) -> dict[str, Callable[[], object]]:
        kinds: dict[str, Callable[[], object]] = {
            "gone for a while": lambda: self._gone(self.rng.uniform(0.5, 8)),
            "takes connections and is silent": lambda: self._silent(self.rng.uniform(2, 20)),
            "deaf at connect": lambda: self.pool.on(CONNECT, Deaf()),
            "closes at configure": lambda: self.pool.on("mining.configure", Close()),
            "reset of three connections": lambda: self.pool.on(CONNECT, Reset(), Reset(), Reset()),
            "slow answers": lambda: self.pool.always("mining.submit", Late(self.rng.uniform(0.2, 3))),
            "slow handshake": lambda: self.pool.on("mining.subscribe", Late(self.rng.uniform(0.5, 5))),
            "mute": lambda: self.pool.do(WatchedPool.mute),
            "sessions forgotten": self._forget_sessions,
            "comes to itself again": lambda: self._redirect("", self.pool.port),
            "moves to a sibling": lambda: self._move(self.rng.choice(self.siblings)),
            "clean flood": lambda: [self.pool.new_job(clean=True) for _ in range(40)],
            "difficulty": lambda: self._difficulty(self.difficulty * 2 ** self.rng.uniform(-2, 3)),
            "difficulty out of reach": lambda: self._difficulty_for(self.rng.uniform(1, 6), REMOTE),
            "flood of shares": self._flood,
        }
        if self.bad_tls is not None:
            kinds["bad certificate"] = lambda: self._certificate(self.rng.uniform(2, 10))
        return kinds

    # ---- the kinds

    def _gone(self, seconds: float) -> None:
        self.pool.stop()
        self._over.wait(seconds)
        self.pool.start()

    def _silent(self, seconds: float) -> None:
        """A listener whose connections nobody accepts."""
        self.pool.stop()
        with socket.create_server(("127.0.0.1", self.pool.port), backlog=8):
            self._over.wait(seconds)
        self.pool.start()

    def _certificate(self, seconds: float) -> None:
        self.pool.stop()
        good, self.pool.tls = self.pool.tls, self.bad_tls
        self.pool.start()
        self._over.wait(seconds)
        self.pool.stop()
        self.pool.tls = good
        self.pool.start()

    def _forget_sessions(self) -> None:
        def act(model: WatchedPool) -> None:
            model.terms = replace(model.terms, resume=Resume.NEW_EXTRANONCE)
            model.reset()

        self._do(act)

    def _redirect(self, host: str, port: int) -> None:
        self._do(lambda model: model.notice("client.reconnect", [host, port, 0]))

    def _move(self, sibling: VirtualPool) -> None:
        """Where this pool is behind TLS and the other is not, the miner must say its TLS hello there, and no more."""
        if self.pool.tls is not None and isinstance(sibling.model, WatchedPool):
            sibling.model.hellos += 1
        self._redirect("127.0.0.1", sibling.port)

    def _difficulty(self, difficulty: float) -> None:
        def act(model: WatchedPool) -> None:
            model.set_difficulty(difficulty)
            model.new_job()

        self._do(act)

    def _difficulty_for(self, seconds: float, difficulty: float) -> None:
        self._difficulty(difficulty)
        self._over.wait(seconds)
        self._difficulty(self.difficulty)

    def _flood(self) -> None:
        self._do(lambda model: model.floods.append(time.monotonic()))
        self._difficulty_for(self.rng.uniform(0.5, 3), FLOOD)

    def _honest(self) -> None:
        def act(model: WatchedPool) -> None:
            model.terms = replace(model.terms, resume=Resume.SAME_EXTRANONCE)

        self._do(act)
        self._difficulty(self.difficulty)

    def _do(self, act: Callable[[WatchedPool], object]) -> None:
        self.pool.do(lambda _: act(self.model))
