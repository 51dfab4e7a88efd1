"""One hash thread: take work, search it in chunks, hand in what is found, look around, go on.

Every wait and every scan is on the feed's epoch, read before anything else is looked at: whoever changes something
(the manager new work; the device stop, pause, duty or kernel) does so first and raises the epoch then, so that the
change is seen within a kernel's two milliseconds or was seen already.

Between two chunks of 50 ms stand some tens of microseconds of Python; nothing of it is done per hash. Not even those
stand between a job and the one that replaces it: whoever serves stages the next work in the mailbox of each scan that
runs, then raises the epoch, and the scan goes straight on with it.

    serving thread   stage(8): lease, prepare, post -> epoch = 8
    hash thread      scan at 7 ........................... scan at 8, a slice only -> both accounted for, lease by lease

One lease at a time is staged, and only the hash thread takes it away, outside of any scan: so what a scan may read
never changes. It goes on with that lease, whether the scan got to it or not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from backends.base import NONCES, DeviceFault, Feed, Hit, State
from backends.cpu.choice.forge import Forge
from backends.duty import DutyCycle
from backends.rates import smoothed
from backends.rectangle import Position
from backends.threaded import Controls
from native import Mailbox, NonceRange

from .search import Search, Words

_LOOK_S = 0.25  # between two questions while there is nothing to do; whatever matters wakes us before
_FIRST_CHUNK = 1 << 16  # hashes
_GRAIN = 1 << 12  # nonces: chunks are multiples of this, so of every kernel's width
_ROOM = 256  # hits per chunk; more of them only make it shorter
_STAGED_S = 0.001  # how long a scan goes on with staged work before what it did for the old is accounted for


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A place in a lease, and what a search was given to go on there: only `position` changes."""

    search: Search
    position: Position
    versions: tuple[int, ...]
    params: Words

    @classmethod
    def at(cls, position: Position, search: Search) -> Self:
        work, versions = position.work, position.versions
        header76 = work.header(0, versions[0], work.ntime)[:76]
        return cls(search, position, versions, search.prepare(header76, versions, work.target))

    def fits(self, position: Position, search: Search) -> bool:
        return self.search is search and self.position is position and self.versions == position.versions


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
        self._in_use: tuple[Search, Mailbox] | None = None
        self._position: Position | None = None
        self._prepared: _Prepared | None = None
        self._hits: Words = np.empty((0, 2), np.uint32)
        self._hps: float | None = None
        self._chunk = _FIRST_CHUNK
        self._turn = threading.Lock()  # guards the two below and the mailbox; not held while anything hashes
        self._scanning: tuple[Search, Mailbox] | None = None
        self._staged: _Prepared | None = None

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

    def stage(self, epoch: int) -> None:
        """Have the next work in place for the scan that runs, which is to end at `epoch`. In another thread than ours.

        Where nothing runs, or something else is wanted of this thread than to hash on, it takes work by itself.
        """
        scanning, controls = self._scanning, self._controls
        if scanning is None or self._staged is not None:
            return
        if self._stopping() or not controls.enabled or not controls.duty:
            return
        search, mailbox = scanning
        if search is not self._forge.search or (work := self._feed.take(0.0)) is None:
            return
        staged = _Prepared.at(Position(work, search.midstates), search)
        with self._turn:
            if self._scanning is scanning:  # or else it came back a moment ago, and takes work already
                self._staged = staged
                slice_ = _nonces(staged, int((self._hps or 0.0) * _STAGED_S))
                mailbox.post(staged.params, slice_, epoch)

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
        if self._in_use is None or self._in_use[0] is not search:
            self._in_use, self._hps, self.best_hps = (search, search.mailbox()), None, None
            self._hits = np.zeros((_ROOM, 2), np.uint32)  # touched by this thread first: in its own node's memory
        if self._prepared is None or not self._prepared.fits(position, search):
            self._prepared = _Prepared.at(position, search)
        now = self._prepared
        whole = _nonces(now, self._chunk)
        start, cancel = position.nonce, self._feed.cancel
        count = min(whole, NONCES - start)
        self._scanning, mailbox = self._in_use, self._in_use[1]
        since = self._clock()
        nonces = NonceRange(now.params, start, count, self._hits, cancel, epoch)
        done, found, more, others = search.relay(nonces, mailbox)
        took_s = self._clock() - since
        staged = self._collect(mailbox)
        hits = self._hits[: found + others].tolist()
        self._account(now, done, hits[:found])
        if staged is not None:
            self._account(staged, more, hits[found:])
            self._prepared, self._position = staged, staged.position
        self._cycle.hashed(took_s)
        if done == whole and not more and took_s > 0:  # a chunk that was cut short says too little
            self._learn(done * len(now.versions) / took_s)

    def _collect(self, mailbox: Mailbox) -> _Prepared | None:
        """What was staged while it scanned."""
        with self._turn:
            staged, self._staged, self._scanning = self._staged, None, None
            if staged is not None:
                mailbox.clear()
        return staged

    def _account(self, prepared: _Prepared, done: int, hits: list[list[int]]) -> None:
        work, versions = prepared.position.work, prepared.versions
        prepared.position.advance(done)
        for nonce, row in hits:
            self._feed.found(Hit(work, nonce, versions[row], work.ntime))
        if done:
            self._feed.worked(work, done * len(versions))

    def _learn(self, hps: float) -> None:
        """Fit the next chunk to the speed of this one."""
        self._hps = smoothed(self._hps, hps)
        self.best_hps = max(self._hps, self.best_hps or 0.0)
        self._chunk = max(min(int(self._hps * self._cycle.slice_s), 4 * self._chunk), _GRAIN)


def _nonces(prepared: _Prepared, hashes: int) -> int:
    """How many make up so many hashes, about."""
    return max(hashes // len(prepared.versions) // _GRAIN * _GRAIN, _GRAIN)
