"""One device's feed: leases out, judged hits in, and what both add up to.

    event loop                                   the device's threads
    serve(job) --> (job, epoch) ---------------> take() --> Work, remembered under its id
    retire(ids) -> dead jobs ------------------> found(hit) --> Verdict --> post(Found) if it matters
                                                 worked(hashes)

The event loop swaps references and has a device stage its next work, under a lock that is never held while a thread
hashes or waits. Only two kinds of hit cross back to the manager: GOOD hits, and hits that solve a block although their
job is dead. A hit of a forgotten lease cannot become a block, because its coinbase is no longer known. If such a hit
solves a block, the feed calls `lost`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import structlog
from numpy.typing import NDArray

from backends.base import TOP_WORD, Capability, DeviceInfo, Hit, Misuse, Verdict, Work

from .events import BlockDropped, Fate, Found
from .health import report_target
from .job import Job
from .lease import Leases
from .rate import HitMeter, Measured, Windows, hits_due

log = structlog.get_logger(__name__)

DEAD_JOBS = 8  # kept to tell STALE from OUTSIDE, and for the block that a dead job may still hold
LIVE_WORKS = 1 << 12  # leases of live jobs; the oldest go first
BOOKED_WORKS = 1 << 13  # leases whose source is known when their hashes are counted, long after their job died
SEEN_HITS = 1 << 13  # remembered to tell duplicates
_STARVING_S = 1.0  # a device that has not asked again for so long does not starve
_EXHAUSTED_S = 0.25  # how often an exhausted job is asked again: time gives it new headers
_EPOCH_MASK = (1 << 32) - 1

_work_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Counts:
    """The sums of one device since the start."""

    hashes: int = 0
    verdicts: Mapping[Verdict, int] = field(default_factory=lambda: MappingProxyType({}))
    proven: float = 0.0  # hashes that its GOOD hits took on average
    due: float = 0.0  # hits that its hashes should have given on average

    def of(self, verdict: Verdict) -> int:
        return self.verdicts.get(verdict, 0)


@dataclass(frozen=True, slots=True)
class _Issued:
    """A lease as it was handed out."""

    work: Work
    job: Job
    extranonce2: bytes


@dataclass(frozen=True, slots=True)
class _Booked:
    """The facts about a lease that are kept longer than the lease itself."""

    source: str
    height: int | None
    network_target: int


class DeviceFeed:
    """Implements backends.base.Feed. `post` and `lost` are called in the device's thread and must return at once."""

    def __init__(
        self,
        info: DeviceInfo,
        leases: Leases,
        post: Callable[[Found], None],
        clock: Callable[[], float] = time.monotonic,
        lost: Callable[[BlockDropped], None] = lambda _block: None,
    ) -> None:
        self._info = info
        self._rolls_version = Capability.ROLLS_VERSION in info.capabilities
        self._rolls_ntime = Capability.ROLLS_NTIME in info.capabilities
        self._leases = leases
        self._post = post
        self._lost = lost
        self._clock = clock
        self._changed = threading.Condition()
        self._stage: Callable[[int], None] | None = None
        self._job: Job | None = None
        self._cancel = np.zeros(1, dtype=np.uint32)
        self._lease_epoch = 0  # the epoch of new leases; while work is staged, the next epoch
        self._works: OrderedDict[int, _Issued] = OrderedDict()
        self._leased: dict[int, deque[int]] = {}  # job id -> ids of its works, oldest first
        self._dead: OrderedDict[int, None] = OrderedDict()  # ids of retired jobs that we leased from, oldest first
        self._seen: OrderedDict[tuple[int, int, int, int], None] = OrderedDict()
        self._booked: OrderedDict[int, _Booked] = OrderedDict()  # by work id
        self._hashes_for: Counter[str] = Counter()  # by source
        self._verdicts: Counter[Verdict] = Counter()
        self._due = 0.0
        self._hashes = Windows()
        self._hits = HitMeter()
        self._pace_hps: float | None = None
        self._target: tuple[Job | None, float, int] = (None, 0.0, 0)  # job, when its target was set, its report target
        self._began: float | None = None
        self._starved: tuple[Job, float] | None = None  # the job that had no headers left at the last `take`, and when

    # ---- the event loop's side

    def serve(self, job: Job | None, *, replace: bool) -> None:
        """Lease from this job from now on; None: idle. `replace` and idling make running work return at once."""
        with self._changed:
            if job is self._job:
                return
            drop = replace or job is None
            self._job = job
            if drop:
                if job is not None and self._stage is not None:
                    self._have_staged(self._stage)
                self._raise_epoch()
            self._changed.notify_all()

    def retire(self, jobs: Iterable[int]) -> None:
        """Call hits on these jobs (by id) stale from now on. The leases of the last few jobs stay known."""
        with self._changed:
            for job in jobs:
                if job in self._leased:
                    self._dead[job] = None
            while len(self._dead) > DEAD_JOBS:
                forgotten, _ = self._dead.popitem(last=False)
                for work in self._leased.pop(forgotten):
                    del self._works[work]

    @property
    def busy(self) -> bool:
        """Whether the device has a job."""
        return self._job is not None

    @property
    def exhausted(self) -> int | None:
        """The id of the served job while the device waits because the job has no headers left; else None."""
        starved = self._starved
        if starved is None or starved[0] is not self._job or self._clock() - starved[1] > _STARVING_S:
            return None
        return starved[0].id

    @property
    def began(self) -> float | None:
        """When the first hashes were counted; None before."""
        return self._began

    def counts(self) -> Counts:
        """The sums up to now."""
        with self._changed:
            verdicts = MappingProxyType(dict(self._verdicts))
            return Counts(self._hashes.total, verdicts, self._hits.proven, self._due)

    def hashes_for(self) -> dict[str, int]:
        """Hashes up to now, by the source of their lease."""
        with self._changed:
            return dict(self._hashes_for)

    def rate(self, window_s: int) -> float | None:
        """Hashes a second, from work done; None before anything is known. `window_s`: one of rate.WINDOWS_S."""
        with self._changed:
            return self._hashes.rate(self._clock(), window_s)

    def measured(self) -> Measured | None:
        """Hashes a second, from valid hits; None before the first."""
        with self._changed:
            return self._hits.measured(self._clock())

    # ---- the device's side: backends.base.Feed

    @property
    def epoch(self) -> int:
        return int(self._cancel[0])

    @property
    def cancel(self) -> NDArray[np.uint32]:
        return self._cancel

    def take(self, timeout: float) -> Work | None:
        deadline = time.monotonic() + timeout  # waiting takes real time, whatever the clock
        epoch = self.epoch
        while True:
            job = self._job or self._await_job(epoch, deadline)
            if job is None:
                return None
            work = self._lease(job)
            if work is not None:
                return work
            left = deadline - time.monotonic()
            if left <= 0 and self._job is job:
                return None  # no wait, however short: a wait would release the lock that staging holds
            self._await_other(job, epoch, max(0.0, min(left, _EXHAUSTED_S)))
            if self._job is job and self.epoch != epoch:
                return None

    def fresh(self, work: Work) -> bool:
        issued = self._works.get(work.id)
        return issued is not None and issued.job is self._job

    def wait(self, epoch: int, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.epoch != epoch, timeout)

    def interrupt(self) -> None:
        with self._changed:
            self._raise_epoch()
            self._changed.notify_all()

    def before_replacing(self, stage: Callable[[int], None] | None) -> None:
        with self._changed:
            self._stage = stage

    def found(self, hit: Hit, ticket: int = 0) -> Verdict:
        issued = self._works.get(hit.work.id)
        if issued is None:
            self._look_for_lost_block(hit)
            return self._count(Verdict.OUTSIDE)
        if issued.work != hit.work or not hit.work.covers(hit.nonce, hit.version, hit.ntime):
            return self._count(Verdict.OUTSIDE)
        hash_ = hit.hash()
        if hash_ > max(hit.work.target | TOP_WORD, ticket):
            return self._count(Verdict.WRONG)
        if hash_ > hit.work.target:
            return self._count(Verdict.BELOW)
        verdict = self._count_valid(hit, issued.job)
        if verdict is Verdict.GOOD or (verdict is Verdict.STALE and hash_ <= issued.job.network_target):
            stale = verdict is Verdict.STALE
            self._post(Found(self._info.id, hit, issued.job, issued.extranonce2, hash_, stale))
        return verdict

    def worked(self, work: Work, hashes: int) -> None:
        if hashes < 0:
            raise Misuse(f"{self._info.id} accounts for {hashes} hashes")
        with self._changed:
            now = self._clock()
            self._hashes.add(now, hashes)
            self._due += hits_due(hashes, work.target)
            if (booked := self._booked.get(work.id)) is not None:
                self._hashes_for[booked.source] += hashes
            if self._began is None and hashes:
                self._began = now

    # ---- private

    def _have_staged(self, stage: Callable[[int], None]) -> None:
        self._lease_epoch = self._next_epoch
        try:
            stage(self._lease_epoch)
        except Exception:  # a driver's defect must not end the loop; the device goes on without staging
            self._stage = None
            log.exception("staging_defect", device=self._info.id)

    def _await_job(self, epoch: int, deadline: float) -> Job | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._job is not None or self.epoch != epoch, max(0.0, deadline - time.monotonic())
            )
            return self._job

    def _await_other(self, job: Job, epoch: int, timeout: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._job is not job or self.epoch != epoch, timeout)

    def _lease(self, job: Job) -> Work | None:
        """Lease from the job and remember it; None when it is exhausted or no longer served."""
        now = self._clock()
        lease = self._leases.issue(job, now, rolls_version=self._rolls_version, rolls_ntime=self._rolls_ntime)
        self._starved = (job, now) if lease is None else None
        if lease is None:
            return None
        with self._changed:
            if self._job is not job:
                return None
            self._hashes.begin(now)
            self._hits.begin(now)
            target = self._report_target(job, now)
            work = Work(
                id=next(_work_ids),
                epoch=self._lease_epoch,
                prev_hash=job.prev_hash,
                merkle_root=lease.merkle_root,
                version=job.version,
                version_mask=lease.version_mask,
                ntime=lease.ntime,
                ntime_span=lease.ntime_span,
                nbits=job.nbits,
                target=target,
            )
            self._works[work.id] = _Issued(work, job, lease.extranonce2)
            self._leased.setdefault(job.id, deque()).append(work.id)
            self._booked[work.id] = _Booked(job.source, job.height, job.network_target)
            if len(self._booked) > BOOKED_WORKS:
                self._booked.popitem(last=False)
            if len(self._works) > LIVE_WORKS:
                _, oldest = self._works.popitem(last=False)
                self._leased[oldest.job.id].popleft()
        return work

    def _report_target(self, job: Job, now: float) -> int:
        """The report target of this job at the present rate, renewed once a second since a lease must be cheap."""
        known, since, target = self._target
        if known is not job or now - since >= 1.0:
            self._pace_hps = self._hashes.rate(now, 60) or self._pace_hps
            target = report_target(self._info, self._pace_hps, max(job.share_target, job.network_target))
            self._target = (job, now, target)
        return target

    def _look_for_lost_block(self, hit: Hit) -> None:
        with self._changed:
            booked = self._booked.get(hit.work.id)
        if booked is not None and (hash_ := hit.hash()) <= booked.network_target:
            reason = "the device reported it so late that its job was forgotten"
            self._lost(BlockDropped(Fate.LOST, booked.source, self._info.id, booked.height, hash_, reason))

    def _count(self, verdict: Verdict) -> Verdict:
        with self._changed:
            self._verdicts[verdict] += 1
        return verdict

    def _count_valid(self, hit: Hit, job: Job) -> Verdict:
        """Judge a hit that meets its target: whether it was reported before and whether its job is alive."""
        key = (hit.work.id, hit.nonce, hit.version, hit.ntime)
        with self._changed:
            if key in self._seen:
                verdict = Verdict.DUPLICATE
            elif job.id in self._dead or hit.work.id not in self._works:
                verdict = Verdict.STALE
            else:
                verdict = Verdict.GOOD
                self._hits.hit(self._clock(), hit.work.target)
            self._verdicts[verdict] += 1
            self._seen[key] = None
            if len(self._seen) > SEEN_HITS:
                self._seen.popitem(last=False)
        return verdict

    @property
    def _next_epoch(self) -> int:
        return (self.epoch + 1) & _EPOCH_MASK

    def _raise_epoch(self) -> None:
        self._cancel[0] = self._lease_epoch = self._next_epoch
