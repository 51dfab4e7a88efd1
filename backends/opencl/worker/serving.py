"""Runs a worker's search: keeps two launches in flight, rests at low duty, takes orders between launches.

A launch with hits is reported at once. Launches without hits are reported together, because each report wakes two
threads of the miner.

Sans I/O: orders come in as messages, reports go out through `tell`. The worker owns the loop around it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from backends.duty import SLICE_S, DutyCycle
from backends.opencl.protocol import HITS_MAX, Done, Drop, Dropped, Report, Stretch
from backends.opencl.worker.search import IN_FLIGHT, Job, Outcome, Search, Ticket

TELL_S = 0.2  # how long the report of a launch without hits may wait


@dataclass(slots=True)
class _Running:
    """A stretch that is being launched, launch by launch."""

    stretch: Stretch
    job: Job
    next: int
    end: int


@dataclass(slots=True)
class _Untold:
    """Launches of a stretch that followed each other and found nothing; took_s: None if one was not timed."""

    start: int
    since: float
    took_s: float | None = 0.0


class Serving:
    """One worker's launches. Call `step` for as long as `due_s` is 0."""

    def __init__(
        self, search: Search, tell: Callable[[Report], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._search = search
        self._tell = tell
        self._clock = clock
        self._stretches: deque[Stretch] = deque()
        self._running: _Running | None = None
        self._flying: deque[tuple[_Running, Ticket]] = deque()
        self._untold: _Untold | None = None
        self._dropping: list[int] = []
        self._cycle = DutyCycle(1.0)
        self._rested_at = clock()

    @property
    def due_s(self) -> float | None:
        """Seconds until there is something to do; None: not before the next order."""
        if self._flying or self._dropping:
            return 0.0
        if not (self._running or self._stretches) or not self._cycle.duty:
            return None
        return max(0.0, self._rested_at + self._cycle.due_s - self._clock())

    def duty(self, duty: float) -> None:
        """Set the share of the time to search in. 0: search nothing; stretches stay."""
        if duty != self._cycle.duty:
            self._cycle = DutyCycle(duty)

    def add(self, stretch: Stretch) -> None:
        self._stretches.append(stretch)

    def drop(self, order: Drop) -> None:
        """Launch nothing more of the present stretches. Reported once the launches in flight are collected."""
        self._stretches.clear()
        self._running = None
        self._dropping.append(order.token)

    def step(self) -> None:
        """Launch as much as there is room for and wait for the oldest launch. Raises what the search raises."""
        began = self._clock()
        self._cycle.rested(began - self._rested_at)
        full = self._cycle.duty == 1
        while len(self._flying) < (IN_FLIGHT if full else 1) and self._cycle.duty and self._advance():
            self._launch()
        if self._flying:
            running, ticket = self._flying.popleft()
            self._searched(running, ticket, self._search.collect(ticket))
        if not self._flying:
            for token in self._dropping:
                self._tell(Dropped(token=token))
            self._dropping.clear()
        self._rested_at = self._clock()
        if not full and self._cycle.duty:
            self._cycle.hashed(self._rested_at - began)

    def _advance(self) -> bool:
        """Have a stretch to launch from, if there is any."""
        if self._running is None and self._stretches:
            stretch = self._stretches.popleft()
            header76, target = bytes.fromhex(stretch.header76), int(stretch.target, 16)
            job = self._search.prepare(header76, stretch.versions, target)
            self._running = _Running(stretch, job, stretch.start, stretch.start + stretch.count)
        return self._running is not None

    def _launch(self) -> None:
        running = self._running
        assert running is not None  # _advance said so
        whole = max(1, int(self._search.nonces(running.job) * self._cycle.slice_s / SLICE_S))
        count = min(whole, running.end - running.next)
        self._flying.append((running, self._search.launch(running.job, running.next, count)))
        running.next += count
        if running.next == running.end:
            self._running = None

    def _searched(self, running: _Running, ticket: Ticket, outcome: Outcome) -> None:
        now, end = self._clock(), ticket.start + ticket.count
        untold = self._untold or _Untold(ticket.start, now)
        timed = None not in (untold.took_s, outcome.took_s)
        untold.took_s = (untold.took_s or 0.0) + (outcome.took_s or 0.0) if timed else None
        goes_on = bool(self._flying) and self._flying[0][0] is running
        if not outcome.hits and goes_on and now - untold.since < TELL_S:
            self._untold = untold
            return
        self._untold = None
        for start, count, hits in parts(untold.start, end - untold.start, sorted(outcome.hits)):
            done = Done(stretch=running.stretch.id, start=start, count=count, hits=tuple(hits), took_s=untold.took_s)
            self._tell(done)


def parts(
    start: int, count: int, hits: list[tuple[int, int]], most: int = HITS_MAX
) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """A range and its hits, sorted by nonce, as consecutive ranges of about `most` hits; a nonce is never divided."""
    end = start + count
    while len(hits) > most:
        bound = hits[most][0]
        cut = next((index for index in range(most, 0, -1) if hits[index - 1][0] != bound), 0)
        if not cut:  # one nonce with more hits than fit: there are no so many versions
            break
        yield start, bound - start, hits[:cut]
        start, hits = bound, hits[cut:]
    yield start, end - start, hits
