"""Mines with one board: starts it, ramps its clock, sends jobs, judges results, and restarts it when it falls silent.

    deciding thread   run():  bring up -> [ take -> ticket -> send -> ramp -> wait for the job's end or new work ]
    listening thread          receive -> found -> worked

There are two threads so that new work reaches the chips at once, whatever the bridge is waiting for. The supervisor
trusts neither thread to end: it turns the board off by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from backends.asic.boards.board import Board, Garbage, Nonce
from backends.asic.boards.chain import RAMP_STEP_S, START_HZ
from backends.asic.health import Health, Silence
from backends.base import BackendError, DeviceFault, Feed, Hit, State, Verdict, Work

HASHES = 1 << 256
_LOOK_S = 0.5  # the longest wait without a sign of life
_LISTEN_S = 0.25
_IN_FLIGHT_S = 2.0  # for so long results that met the former ticket may still arrive
_RESULTS_HZ = 2.0  # results a second that the ticket lets through, so that health and rate are known at any difficulty
_SILENCES = 3  # restarts in a row without a result between them
_WORKED = (Verdict.GOOD, Verdict.BELOW, Verdict.STALE)


class Permit(Protocol):
    """What the supervisor allows the board."""

    @property
    def allowed(self) -> bool: ...

    @property
    def ceiling_hz(self) -> float: ...

    def look(self) -> None:
        """Apply the rules that depend on time alone."""
        ...


@dataclass(slots=True)
class Controls:
    """The operator's settings. One thread writes them, others read them."""

    frequency_hz: float
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Terms:
    """How a board is driven.

    scale: hashes done for each hash that a real board would have done: 1, or the scale that an emulated board declares.
    """

    scale: float = 1.0
    silence: Silence = field(default_factory=Silence)
    ramp_s: float = RAMP_STEP_S
    now: Callable[[], float] = time.monotonic


class Driver:
    """Call `run` in a thread of its own. Other threads may read the public attributes."""

    def __init__(  # noqa: PLR0917 # the parts it brings together
        self,
        board: Board,
        feed: Feed,
        controls: Controls,
        permit: Permit,
        terms: Terms,
        log: Callable[..., None],
    ) -> None:
        self.state = State.STARTING
        self.hertz: float | None = None  # the clock that is set; None: off
        self.on = self.settled = False  # the board may have power; its start is over
        self.health: Health | None = None
        self.stopping = False
        self.ramp_down_s = 0.0  # how long the ramp at the end may take
        self._board, self._feed, self._controls, self._permit = board, feed, controls, permit
        self._terms, self._now, self._log = terms, terms.now, log
        self._beats = [self._now(), self._now()]
        self._tame_hz: float | None = None  # a ceiling for chips that err
        self._ticket = self._former = 0  # targets
        self._former_until = 0.0
        self._listening = False
        self._deaf: Exception | None = None
        self._silences = 0

    @property
    def age_s(self) -> float:
        """Seconds since the less recently active of the two threads reported in."""
        return self._now() - min(self._beats if self._listening else self._beats[:1])

    @property
    def goal_hz(self) -> float:
        """The clock to ramp to."""
        goal = min(self._controls.frequency_hz, self._permit.ceiling_hz)
        return goal if self._tame_hz is None else min(goal, self._tame_hz)

    def run(self) -> None:
        """Mine until `stopping`. Raises what the board and the feed raise. The board is off afterwards in any case."""
        try:
            while not self.stopping:
                self._beats[0] = self._now()
                if not self._controls.enabled or not self._permit.allowed:
                    self.state = State.PAUSED
                    self._feed.wait(self._feed.epoch, _LOOK_S)
                else:
                    self._work()
        finally:
            self._off()

    def _may_go_on(self) -> bool:
        return not self.stopping and self._controls.enabled and self._permit.allowed

    def _work(self) -> None:
        """Bring the board up, mine, and turn it off."""
        self.state, self.on = State.STARTING, True
        try:
            chips = self._board.bring_up()
        except DeviceFault:
            if self._may_go_on():
                raise
            return  # the supervisor turned it off meanwhile, so this is no fault
        finally:
            self._beats = [self._now(), self._now()]
            if not self._permit.allowed:
                self._off()
        self.hertz, self._ticket, self.settled = float(START_HZ), 0, True
        self.health = Health(self._board.kind, self._now(), self._terms.silence)
        self._log("asic_up", board=self._board.kind.name, chips=chips)
        listener = threading.Thread(target=self._listen, name=f"{threading.current_thread().name}/results", daemon=True)
        self._listening, self._deaf = True, None
        listener.start()
        try:
            self._mine(self.health)
            self._ramp_down()
        except BackendError:
            if self._may_go_on():
                raise  # else the supervisor turned the board off meanwhile
        finally:
            self._listening = False
            listener.join()
            self._off()

    def _mine(self, health: Health) -> None:
        work: Work | None = None
        due = ramp_at = now = self._now()
        while self._may_go_on() and self._deaf is None:
            epoch = self._feed.epoch
            if work is None or not self._feed.fresh(work):
                work = self._take()
                due = now
            self._beats[0] = now = self._now()
            health.hashed(self._results_hz() if work else 0.0, now)
            if work is not None and now >= due:
                seconds = self._board.send(work)
                if seconds is None:
                    work = None
                    continue
                self.state, due = State.MINING, now + seconds
            if now >= ramp_at and self.hertz != self.goal_hz:
                before = self.hertz
                self.hertz, ramp_at = self._board.set_frequency(self.goal_hz), now + self._terms.ramp_s
                due = now + (due - now) * (before or self.hertz) / self.hertz  # a faster chip finishes its job sooner
            self._permit.look()
            if self._judge(health, now):
                return
            until = min(due, ramp_at) if work and self.hertz != self.goal_hz else due
            if work is not None and until > now:
                self._feed.wait(epoch, min(until - self._now(), _LOOK_S))
        if self._deaf is not None and self._may_go_on():
            raise self._deaf

    def _take(self) -> Work | None:
        work = self._feed.take(_LOOK_S)
        if work is None:
            self.state = State.IDLE
            return None
        own = HASHES // max(int(self._hps(self._controls.frequency_hz) / _RESULTS_HZ), 1)
        ticket = self._board.set_ticket(min(max(work.target, own), HASHES - 1))
        if ticket != self._ticket:
            self._former, self._former_until = self._ticket, self._now() + _IN_FLIGHT_S
            self._ticket = ticket
        return work

    def _hps(self, hertz: float) -> float:
        return self._board.kind.hashes_per_hz * hertz * self._terms.scale

    def _results_hz(self) -> float:
        return self._hps(self.hertz or 0.0) * (self._ticket + 1) / HASHES

    @property
    def expected_hps(self) -> float | None:
        """Hashes a second at the present clock; None while the board is off."""
        return None if self.hertz is None else self._hps(self.hertz)

    def _judge(self, health: Health, now: float) -> bool:
        """Whether the chips must be restarted. Raises DeviceFault when restarts did not help."""
        if health.errs():
            table = [x for x in self._board.kind.limits.frequencies_hz if x < self.goal_hz]
            self._tame_hz = table[-1] if table else self.goal_hz
            self._log("asic_errs", wrong=health.wrong, results=health.results, slowed_to_hz=self._tame_hz)
        if health.results:
            self._silences = 0
        if not health.silent(now):
            return False
        self._silences += 1
        self._log("asic_silent", starts=self._silences)
        if self._silences > _SILENCES:
            raise DeviceFault(f"its chips find nothing, also after {_SILENCES} starts anew")
        return True

    def _ramp_down(self) -> None:
        """Lower the clock as far as time allows: a regulator that loses its load at once may overshoot."""
        until = self._now() + self.ramp_down_s
        while self.hertz is not None and self.hertz > START_HZ and self._permit.allowed and self._now() < until:
            self._beats[0] = self._now()
            self.hertz = self._board.set_frequency(float(START_HZ))

    def _off(self) -> None:
        self.settled = False
        try:
            self._board.off()
        finally:
            self.on, self.hertz = False, None

    # ---- the listening thread

    def _listen(self) -> None:
        try:
            while self._listening:
                self._beats[1] = self._now()
                for item in self._board.receive(_LISTEN_S):
                    if isinstance(item, Garbage):
                        assert self.health is not None
                        self.health.garbage[item.reason] += item.count
                    else:
                        self._found(item)
        except Exception as error:  # noqa: BLE001  the deciding thread raises it
            self._deaf = error
            with suppress(BackendError):
                self._feed.interrupt()

    def _found(self, nonce: Nonce) -> None:
        hit = Hit(nonce.work, nonce.nonce, nonce.version, nonce.ntime)
        ticket = self._ticket
        easiest = max(ticket, self._former) if self._now() < self._former_until else ticket
        verdict = self._feed.found(hit, easiest)
        assert self.health is not None
        if verdict in _WORKED:
            self.health.good(nonce.chip, nonce.core, self._now())
            if easiest == ticket or hit.hash() <= ticket:
                self._feed.worked(nonce.work, round(HASHES / (ticket + 1)))
        elif verdict is Verdict.WRONG:
            self.health.wrong += 1
