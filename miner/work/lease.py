"""Leases: rectangles of headers cut out of jobs, so that nobody ever searches the same header twice.

One counter runs for the whole process: it never restarts, not for a repeated job, not for a new session, not for a
second source that happens to send the same coinbase. Its value modulo the room of a job is the lease's extranonce2.

    room = 256 ** extranonce2_size; a ready root is a coinbase with room 1

                    room used up, a later second has come
      LAP 1 ----------------------------------------------> LAP 2 ...
      extranonce2 all different, ntime = now                extranonce2 may repeat: every ntime is
      (room 1: the first second not yet used)               later than the latest of all laps before

So (prev_hash, merkle_root, ntime) is new each time; version only widens a lease, it never tells two apart. What was
issued is remembered for the `REMEMBERED` most recently used templates: a template that comes back after so many
others repeats a header only if its room is tiny or it is a ready root.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from .job import CoinbaseParts, Job, ReadyRoot

REMEMBERED = 4096  # templates, some 250 bytes each


@dataclass(frozen=True, slots=True)
class Lease:
    """Headers of one job that nobody else searches: 2^32 nonces x versions x ntime .. ntime + ntime_span."""

    job: Job
    extranonce2: bytes  # empty for a ready root
    merkle_root: bytes  # 32 bytes, header order
    version_mask: int
    ntime: int
    ntime_span: int  # seconds


@dataclass(slots=True)
class _Lap:
    """What was issued of one template since its room was last exhausted."""

    first: int  # the counter's value at the first lease of the lap
    floor: int = 0  # every ntime of the lap is at least this
    top: int = -1  # the latest ntime of any lease yet


class Leases:
    """Issues leases on any job to any thread; one instance serves the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0
        self._laps: OrderedDict[int, _Lap] = OrderedDict()

    def issue(self, job: Job, now: float, *, rolls_version: bool = False, rolls_ntime: bool = False) -> Lease | None:
        """A lease with timestamps rolled forward to `now` (seconds, monotonic); None while the job is exhausted.

        The device may roll versions and ntime only where it says it can; ntime runs on to the job's limit, but for
        a ready root, whose seconds are all it has, only to now.
        """
        room = 1 << 8 * job.body.extranonce2_size if isinstance(job.body, CoinbaseParts) else 1
        # 64 bits stand for the template: should two collide, they share a lap, which only makes both end earlier.
        template = hash((job.prev_hash, job.body))
        latest = max(job.ntime, min(job.ntime_limit, job.ntime + int(max(0.0, now - job.arrived))))
        with self._lock:
            lap = self._lap(template, room, job.ntime, latest)
            if lap is None:
                return None
            ntime = max(lap.floor, job.ntime) if room == 1 else latest
            end = latest if room == 1 else max(latest, job.ntime_limit)
            span = end - ntime if rolls_ntime else 0
            lap.top = max(lap.top, ntime + span)
            number = self._next
            self._next += 1
        if isinstance(job.body, ReadyRoot):
            extranonce2, root = b"", job.body.root
        else:
            extranonce2 = (number % room).to_bytes(job.body.extranonce2_size, "little")
            root = job.body.merkle_root(extranonce2)
        return Lease(job, extranonce2, root, job.version_mask if rolls_version else 0, ntime, span)

    def _lap(self, template: int, room: int, earliest: int, latest: int) -> _Lap | None:
        """The lap to issue from, begun anew if need be; None: neither extranonce2 nor seconds are left."""
        lap = self._laps.get(template)
        if lap is None:
            lap = self._laps[template] = _Lap(self._next)
            if len(self._laps) > REMEMBERED:
                self._laps.popitem(last=False)
            return lap
        self._laps.move_to_end(template)
        if self._next - lap.first < room:
            return lap if latest >= lap.floor else None
        floor = max(lap.top + 1, earliest)
        if floor > latest:
            return None
        lap.first, lap.floor = self._next, floor
        return lap
