"""The state of the whole miner at one moment: what the screen, Prometheus, the API and --summary all read.

Frozen values, made on the event loop, safe to hand to any thread. SI base units; None is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backends.base import DeviceInfo, Telemetry
from miner.work.latency import Latencies
from miner.work.rate import WINDOWS_S

__all__ = ["WINDOWS_S", "DeviceView", "Snapshot", "SourceView"]


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device."""

    info: DeviceInfo
    telemetry: Telemetry
    hashes: int
    rate_hps: Mapping[int, float | None]  # window in seconds -> hashes a second, from work done
    measured_hps: float | None  # from the difficulty of its valid hits: what an outsider would estimate
    hits: int  # GOOD verdicts
    hardware_errors: int  # WRONG verdicts
    faults: Mapping[str, int]  # every other verdict that is not GOOD, by name
    shares: int  # how many of its hits were worth sending
    restarts: int
    energy_j: float | None


@dataclass(frozen=True, slots=True)
class SourceView:
    """One pool, node or the embedded chain."""

    name: str
    connected: bool
    active: bool
    priority: int  # 0: the preferred one
    failed: str | None  # the sentence, once a person must act
    submitted: int
    accepted: int
    rejected: Mapping[str, int]  # by Reason, stale not included
    stale: int
    blocks_accepted: int
    blocks_rejected: int
    accepted_difficulty: float  # sum over accepted shares
    difficulty: float | None  # of the newest job's share target
    hashes: int  # done on its leases
    latency_s: float | None  # of the last answered share: found to answered
    sending_s: float | None  # of that, found to sent
    answering_s: float | None  # and sent to answered
    latencies: Latencies  # of every answered share: found to answered
    reconnects: int
    job_age_s: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything."""

    now: float  # seconds, monotonic
    mining_s: float  # time with something to hash on since the first hash; compiling left out
    started_at: float | None  # Unix time of the first hash
    devices: tuple[DeviceView, ...]
    sources: tuple[SourceView, ...]  # the preferred one first
    hashes: int
    rate_hps: Mapping[int, float | None]
    best_difficulty: float | None
    height: int | None  # of the job being mined
    network_difficulty: float | None
    worthless: bool  # the coins of this chain are (embedded, synthetic)
