"""One hash thread: take work, search it in chunks, hand in what is found, look around, go on.

Every wait and every scan is on the feed's epoch, read before anything else is looked at: whoever changes something
(the manager new work; the device stop, pause, duty or kernel) does so first and raises the epoch then, so that the
change is seen within a kernel's two milliseconds or was seen already.

Between two chunks of 50 ms stand some tens of microseconds of Python; nothing of it is done per hash.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backends.base import NONCES, DeviceFault, Feed, Hit, State
from backends.duty import DutyCycle
from backends.rectangle import Position

from .forge import Forge
from .search import Search, Words

_LOOK_S = 0.25  # between two questions while there is nothing to do; whatever matters wakes us before
_FIRST_CHUNK = 1 << 16  # hashes
_GRAIN = 1 << 12  # nonces: chunks are multiples of this, so of every kernel's width
_ROOM = 256  # hits per chunk; more of them only make it shorter
_SMOOTHING = 0.2


@dataclass(slots=True)
class Controls:
    """What the device tells its threads; read by them before every chunk. Lives as long as the device."""

    enabled: bool = True
    duty: float = 1.0


class Hasher:
    """Runs in a thread of its own; the device reads `state` and `best_hps` from other threads."""

    def __init__(
        self,
        feed: Feed,
        controls: Controls,
        forge: Forge,
        stopping: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.state = State.STARTING
        self.best_hps: float | None = None  # the best that this kernel has done in this thread, smoothed
        self._feed = feed
        self._controls = controls
        self._forge = forge
        self._stopping = stopping
        self._clock = clock
        self._cycle = DutyCycle(controls.duty)
        self._search: Search | None = None
        self._position: Position | None = None
        self._prepared: tuple[Position, tuple[int, ...]] | None = None  # what the parameters stand for
        self._params: Words = np.empty((0, 0), np.uint32)
        self._hits: Words = np.empty((0, 2), np.uint32)
        self._hps: float | None = None
        self._chunk = _FIRST_CHUNK

    def run(self) -> None:
        """Mine until told to stop. What the feed or the kernel raises comes out of here."""
        while self.step():
            pass

    def step(self) -> bool:
        """Do the next thing there is to do; False: it was told to stop."""
        feed, controls = self._feed, self._controls
        epoch = feed.epoch
        if self._stopping():
            return False
        if (search := self._forge.search) is None:
            if self._forge.failure:
                raise DeviceFault(self._forge.failure)
            self._rest(State.STARTING, epoch, _LOOK_S)
        elif not controls.enabled or not controls.duty:
            self._rest(State.PAUSED, epoch, _LOOK_S)
        elif (position := self._current()) is None:
            work = feed.take(_LOOK_S)
            self._position = Position(work, search.midstates) if work else None
            if not work:
                self.state = State.IDLE
        elif (due_s := self._duty().due_s) > 0:
            self._rest(State.MINING, epoch, due_s)
        else:
            self.state = State.MINING
            self._mine(search, position, epoch)
        return True

    def _current(self) -> Position | None:
        """Where to go on; None when there is nothing left of it or something better to do."""
        position = self._position
        if position is None or not position.versions or not self._feed.fresh(position.work):
            return None
        return position

    def _duty(self) -> DutyCycle:
        if self._cycle.duty != self._controls.duty:
            self._cycle = DutyCycle(self._controls.duty)
        return self._cycle

    def _rest(self, state: State, epoch: int, seconds: float) -> None:
        self.state = state
        since = self._clock()
        self._feed.wait(epoch, seconds)
        self._cycle.rested(self._clock() - since)

    def _mine(self, search: Search, position: Position, epoch: int) -> None:
        work, versions, start = position.work, position.versions, position.nonce
        if search is not self._search:
            self._search, self._prepared, self._hps, self.best_hps = search, None, None, None
            self._hits = np.zeros((_ROOM, 2), np.uint32)  # touched by this thread first: in its own node's memory
        if self._prepared != (position, versions):
            header76 = work.header(0, versions[0], work.ntime)[:76]
            self._params, self._prepared = search.prepare(header76, versions, work.target), (position, versions)
        whole = max(self._chunk // len(versions) // _GRAIN * _GRAIN, _GRAIN)
        count = min(whole, NONCES - start)
        since = self._clock()
        done, found = search.scan(self._params, start, count, self._hits, self._feed.cancel, epoch)
        took_s = self._clock() - since
        position.advance(done)
        for nonce, row in self._hits[:found].tolist():
            self._feed.found(Hit(work, nonce, versions[row], work.ntime))
        if done:
            self._feed.worked(work, done * len(versions))
        self._cycle.hashed(took_s)
        if done == whole and took_s > 0:  # a chunk that was cut short says too little
            self._learn(done * len(versions) / took_s)

    def _learn(self, hps: float) -> None:
        """Fit the next chunk to the speed of this one."""
        self._hps = hps if self._hps is None else self._hps + _SMOOTHING * (hps - self._hps)
        self.best_hps = max(self._hps, self.best_hps or 0.0)
        self._chunk = max(min(int(self._hps * self._cycle.slice_s), 4 * self._chunk), _GRAIN)
