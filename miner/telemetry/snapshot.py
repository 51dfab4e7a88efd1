"""The state of the whole miner at one moment: what the screen, Prometheus, the API and --summary all read.

Frozen values, made on the event loop, safe to hand to any thread. SI base units; None is unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from backends.base import DeviceInfo, Telemetry
from miner.work.latency import Latencies
from miner.work.rate import WINDOWS_S

from .alarm import Alarm

MODEL = "model"  # the source of watts that the operator gave: not measured

__all__ = ["MODEL", "WINDOWS_S", "Basis", "Consumption", "Costs", "DeviceView", "MeterView", "Snapshot", "SourceView"]


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
    hits_due: float = 0.0  # how many valid hits its hashes should have given on average
    energy_by: Mapping[str, float] = field(default_factory=dict)  # joules so far, by the source of the readings
    joules_per_hash: float | None = None

    @property
    def energy_j(self) -> float | None:
        """All its known energy."""
        return sum(self.energy_by.values()) if self.energy_by else None

    @property
    def power_modelled(self) -> bool:
        """Whether its watts are the operator's figure and not measured."""
        return self.telemetry.power_source == MODEL

    @property
    def energy_modelled(self) -> bool:
        """Whether such a figure is part of its joules, and so of its joules per hash."""
        return MODEL in self.energy_by


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
    behind: bool = False  # its jobs extend a block that another source has moved on from
    present: bool = True  # False: a reload took it out, and what it was given and answered is all there is to it
    distrusted: str | None = None  # why it is held to credit nothing: it answers no share, or refuses every one


@dataclass(frozen=True, slots=True)
class MeterView:
    """A wall meter. It measures a machine or a rack, never a device: what it says is not added to what devices say."""

    name: str
    machine: bool  # whether it measures this machine and nothing else
    watts: float | None
    joules: float | None
    gap_s: float  # seconds that are not in the joules
    fault: str | None  # why it is not known what it says


class Basis(StrEnum):
    """Whose word consumption is taken from."""

    WALL = "wall"  # all meters of this machine
    DEVICES = "devices"  # what devices measure of themselves
    MODEL = "model"  # the same, with figures among it that the operator gave


@dataclass(frozen=True, slots=True)
class Consumption:
    """Watts, joules and efficiency of the whole miner, by one basis. Emulated devices draw nothing."""

    basis: Basis
    watts: float | None
    joules: float | None
    joules_per_hash: float | None  # over the time in which both are known


@dataclass(frozen=True, slots=True)
class Costs:
    """Money, in the tariff's currency; by the wall where a meter is, else by the devices."""

    currency: str
    basis: Basis
    price_per_kwh: float
    spent: float | None
    per_difficulty: float | None  # what an accepted share of difficulty 1 has cost
    break_even_per_kwh: float | None  # the price at which mining earns nothing


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
    meters: tuple[MeterView, ...] = ()
    consumption: tuple[Consumption, ...] = ()  # the best known first
    costs: Costs | None = None
    alarms: tuple[Alarm, ...] = ()  # the gravest first
    held: Mapping[str, str] = field(default_factory=dict)  # what keeps all devices off -> why, in a sentence
