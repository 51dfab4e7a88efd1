"""What a feed's calls cost in processor time: they share one GIL with everything else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from backends.base import Capability, DeviceInfo, Hit, Kind, Verdict
from miner.sources.synthetic import SyntheticChain, SyntheticOptions
from miner.work.events import Found
from miner.work.feed import DeviceFeed
from miner.work.job import Job
from miner.work.lease import Leases

BRANCH = 12  # levels: a block of up to 4096 transactions
_BATCH = 250
_EVERYTHING = (1 << 256) - 1


def lease_s(batches: int) -> list[float]:
    """Processor seconds for each `DeviceFeed.take`, averaged over a batch."""
    feed = _feed(_job(), lambda _found: None)
    return [_batch(lambda _: feed.take(0.0)) for _ in range(batches)]


def verdict_s(batches: int) -> list[float]:
    """Processor seconds for each hit that `DeviceFeed.found` judges GOOD and posts, averaged over a batch."""
    posted: list[Found] = []
    feed = _feed(replace(_job(), share_target=_EVERYTHING), posted.append)
    times = []
    for _ in range(batches):
        work = feed.take(0.0)
        assert work is not None
        hits = [Hit(work, nonce, work.version, work.ntime) for nonce in range(_BATCH)]
        times.append(_batch(lambda nonce, hits=hits: feed.found(hits[nonce])))  # type: ignore[misc]
    assert feed.counts().of(Verdict.GOOD) == len(posted) == batches * _BATCH
    return times


def _batch(call: Callable[[int], object]) -> float:
    begun = time.thread_time()
    for number in range(_BATCH):
        call(number)
    return (time.thread_time() - begun) / _BATCH


def _feed(job: Job, post: Callable[[Found], None]) -> DeviceFeed:
    slow_hps = 1.0  # no rate of hits is too high for it
    can = frozenset({Capability.ROLLS_VERSION})
    info = DeviceInfo("cpu:0", "cpu", Kind.CPU, "", expected_hps=slow_hps, capabilities=can)
    feed = DeviceFeed(info, Leases(), post)
    feed.serve(job, replace=True)
    return feed


def _job() -> Job:
    return SyntheticChain("costs", SyntheticOptions(branch_length=BRANCH)).next_job(time.monotonic(), None).job
