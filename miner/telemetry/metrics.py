"""The latest snapshot as Prometheus families: names in base units, counters ending in _total, bounded labels.

What has not happened yet is known to be 0, so every reason has its series from the start and rate() sees the first.
Source of the conventions: Prometheus documentation, practices/naming and instrumenting/writing_exporters.
docs/reference/metrics.md lists the same families; a test holds the two together.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from backends.base import Reading, State, Verdict
from miner.work.share import Reason

from .alarm import Stage
from .family import Family, Values, View
from .snapshot import Costs, DeviceView, MeterView, Snapshot, SourceView

POWER_SOURCES = frozenset({"rapl", "nvml", "hwmon", "usb", "meter", "model"})
EMULATED = "emulated"  # the source of a virtual board's watts, whatever its driver reads there: nobody draws them
SENSORS_MAX = 32  # readings of one kind that one device may show
_REASONS = tuple(str(reason) for reason in Reason if reason is not Reason.STALE)
_STATES = tuple((state, (str(state),)) for state in State)
_FAULTS = tuple(verdict.value for verdict in Verdict if verdict not in {Verdict.GOOD, Verdict.WRONG})


@cache
def window(seconds: int) -> str:
    """How a span is written in the label `window`: 10s, 1m, 15m."""
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def _split(values: Mapping[str, float | None]) -> Values:
    return {(label,): value for label, value in values.items()}


def _bounded(counts: Mapping[str, int], known: tuple[str, ...], rest: str) -> Values:
    """Every known label, from 0; what a later contract may add is counted under `rest`, not lost."""
    total: dict[str, float | None] = dict.fromkeys((*known, rest), 0)
    for label, count in counts.items():
        name = str(label).lower()
        key = name if name in total else rest
        total[key] = (total[key] or 0) + count
    return _split(total)


def _readings(readings: Iterable[Reading]) -> Values:
    return {(reading.sensor,): reading.value for reading in tuple(readings)[:SENSORS_MAX]}


def _energy(device: DeviceView) -> Values:
    """Bounded as power is; what drivers make up beyond that is one series."""
    known: Values = {}
    for source, value in device.energy_by.items():
        label = _by_source(device, source)
        known[label] = (known.get(label) or 0.0) + value
    return known


def _by_source(device: DeviceView, source: str | None) -> tuple[str]:
    if device.info.virtual:
        return (EMULATED,)
    return (source if source in POWER_SOURCES else "other",)


def _money(snapshot: Snapshot, read: Callable[[Costs], float | None]) -> Values:
    """What follows from the energy used, by whose word that is."""
    return {(snapshot.costs.currency, snapshot.costs.basis): read(snapshot.costs)} if snapshot.costs else {}


def _present(read: Callable[[SourceView], float]) -> Callable[[SourceView], float | None]:
    """Only of sources that are there: one that a reload took out is neither up nor down."""
    return lambda source: read(source) if source.present else None


def _expected(device: DeviceView) -> float | None:
    now = device.telemetry.expected_hps
    return device.info.expected_hps if now is None else now


def _device_info(device: DeviceView) -> Values:
    info = device.info
    return {(info.backend, info.kind, info.model, info.serial or "", str(info.virtual).lower()): 1}


@cache
def _build() -> tuple[str, ...]:
    return version("angara-miner"), platform.python_version()


DEVICE_FAMILIES: tuple[Family[DeviceView], ...] = (
    Family("miner_hashes_total", "counter", "Hashes computed.", lambda d: d.hashes, unit="hashes"),
    Family(
        "miner_hashrate_hashes_per_second",
        "gauge",
        "Hash rate from work done, averaged over the window.",
        lambda d: _split({window(seconds): rate for seconds, rate in d.rate_hps.items()}),
        ("window",),
        "hashes_per_second",
    ),
    Family(
        "miner_hashrate_measured_hashes_per_second",
        "gauge",
        "Hash rate estimated from the difficulty of valid hits, as an outsider would.",
        lambda d: d.measured_hps,
        unit="hashes_per_second",
    ),
    Family(
        "miner_hashrate_expected_hashes_per_second",
        "gauge",
        "Hash rate the device should reach at its present settings.",
        _expected,
        unit="hashes_per_second",
    ),
    Family("miner_hits_total", "counter", "Results that were confirmed when hashed again.", lambda d: d.hits),
    Family(
        "miner_hardware_errors_total", "counter", "Results that hash to something else.", lambda d: d.hardware_errors
    ),
    Family(
        "miner_hits_discarded_total",
        "counter",
        "Right hashes that were of no use, by reason.",
        lambda d: _bounded(d.faults, _FAULTS, "other"),
        ("reason",),
    ),
    Family("miner_shares_found_total", "counter", "Results that were worth sending.", lambda d: d.shares),
    Family(
        "miner_device_state",
        "gauge",
        "1 for the state the device is in, 0 for the others.",
        lambda d: {label: state is d.telemetry.state for state, label in _STATES},
        ("state",),
    ),
    Family("miner_device_restarts_total", "counter", "Times the device was started again.", lambda d: d.restarts),
    Family(
        "miner_device_info",
        "info",
        "What the device is; virtual ones are emulated.",
        _device_info,
        ("backend", "kind", "model", "serial", "virtual"),
    ),
    Family(
        "miner_energy_joules_total",
        "counter",
        "Energy used, by how it is known.",
        _energy,
        ("source",),
        "joules",
    ),
    Family(
        "miner_power_watts",
        "gauge",
        "Power drawn, by how it is known.",
        lambda d: {_by_source(d, d.telemetry.power_source): d.telemetry.power_w},
        ("source",),
        "watts",
    ),
    Family(
        "miner_power_limit_watts",
        "gauge",
        "Power that the device keeps itself under.",
        lambda d: d.telemetry.power_limit_w,
        unit="watts",
    ),
    Family(
        "miner_temperature_celsius",
        "gauge",
        "Temperature of a sensor.",
        lambda d: _readings(d.telemetry.temperatures_c),
        ("sensor",),
        "celsius",
    ),
    Family("miner_fan_rpm", "gauge", "Speed of a fan.", lambda d: _readings(d.telemetry.fans_rpm), ("fan",), "rpm"),
    Family("miner_fan_duty_ratio", "gauge", "What the fans are told.", lambda d: d.telemetry.fan, unit="ratio"),
    Family("miner_frequency_hertz", "gauge", "Clock of the device.", lambda d: d.telemetry.frequency_hz, unit="hertz"),
    Family("miner_voltage_volts", "gauge", "Supply of the device.", lambda d: d.telemetry.voltage_v, unit="volts"),
    Family("miner_duty_ratio", "gauge", "Part of the time it hashes.", lambda d: d.telemetry.duty, unit="ratio"),
)

POOL_FAMILIES: tuple[Family[SourceView], ...] = (
    Family("miner_pool_connected", "gauge", "Whether the source can take shares.", _present(lambda s: s.connected)),
    Family("miner_pool_active", "gauge", "Whether the source is mined on.", _present(lambda s: s.active)),
    Family("miner_pool_priority", "gauge", "Place in the order of preference.", _present(lambda s: s.priority)),
    Family(
        "miner_pool_failed", "gauge", "Whether the source needs a person.", _present(lambda s: s.failed is not None)
    ),
    Family(
        "miner_pool_distrusted",
        "gauge",
        "Whether the source answers no share, or refuses every one.",
        _present(lambda s: s.distrusted is not None),
    ),
    Family("miner_pool_reconnects_total", "counter", "Connections after the first.", lambda s: s.reconnects),
    Family("miner_pool_difficulty", "gauge", "Share difficulty of the newest job.", lambda s: s.difficulty),
    Family("miner_shares_submitted_total", "counter", "Shares sent.", lambda s: s.submitted),
    Family("miner_shares_accepted_total", "counter", "Shares accepted.", lambda s: s.accepted),
    Family(
        "miner_shares_rejected_total",
        "counter",
        "Shares rejected, by reason; stale ones are counted apart.",
        lambda s: _bounded(s.rejected, _REASONS, Reason.OTHER),
        ("reason",),
    ),
    Family("miner_shares_stale_total", "counter", "Shares that came too late.", lambda s: s.stale),
    Family(
        "miner_share_difficulty_accepted_total",
        "counter",
        "Sum of the difficulties of accepted shares.",
        lambda s: s.accepted_difficulty,
    ),
    Family("miner_blocks_accepted_total", "counter", "Blocks accepted.", lambda s: s.blocks_accepted),
    Family("miner_blocks_rejected_total", "counter", "Blocks rejected.", lambda s: s.blocks_rejected),
    Family(
        "miner_submit_latency_seconds",
        "histogram",
        "Time from finding a share to its answer.",
        lambda s: s.latencies,
        unit="seconds",
    ),
    Family(
        "miner_submit_last_latency_seconds",
        "gauge",
        "Time from finding the last answered share to its answer.",
        lambda s: s.latency_s,
        unit="seconds",
    ),
    Family(
        "miner_submit_last_sending_seconds",
        "gauge",
        "Of that, from finding to sending.",
        lambda s: s.sending_s,
        unit="seconds",
    ),
    Family(
        "miner_submit_last_answering_seconds",
        "gauge",
        "Of that, from sending to the answer.",
        lambda s: s.answering_s,
        unit="seconds",
    ),
    Family("miner_pool_hashes_total", "counter", "Hashes done on its work.", lambda s: s.hashes, unit="hashes"),
    Family("miner_job_age_seconds", "gauge", "Age of the newest job.", lambda s: s.job_age_s, unit="seconds"),
)

MINER_FAMILIES: tuple[Family[Snapshot], ...] = (
    Family("miner_build_info", "info", "The program.", lambda _: {_build(): 1}, ("version", "python")),
    Family("miner_mining_seconds_total", "counter", "Time with work to hash.", lambda s: s.mining_s, unit="seconds"),
    Family(
        "miner_mining_start_time_seconds",
        "gauge",
        "Unix time of the first hash.",
        lambda s: s.started_at,
        unit="seconds",
    ),
    Family("miner_best_share_difficulty", "gauge", "Difficulty of the best hash so far.", lambda s: s.best_difficulty),
    Family("miner_block_height", "gauge", "Height of the block being mined.", lambda s: s.height),
    Family("miner_network_difficulty", "gauge", "Difficulty of a block.", lambda s: s.network_difficulty),
    Family("miner_worthless", "gauge", "Whether the coins of the chain being mined are.", lambda s: s.worthless),
    Family(
        "miner_devices_held",
        "gauge",
        "1 while this keeps all devices off.",
        lambda s: {(reason,): 1 for reason in s.held},
        ("reason",),
    ),
    Family(
        "miner_consumption_watts",
        "gauge",
        "Power that all of it draws, by whose word that is.",
        lambda s: {(one.basis,): one.watts for one in s.consumption},
        ("basis",),
        "watts",
    ),
    Family(
        "miner_consumption_joules_per_hash",
        "gauge",
        "Energy for a hash, over the time in which both are known.",
        lambda s: {(one.basis,): one.joules_per_hash for one in s.consumption},
        ("basis",),
    ),
    Family(
        "miner_electricity_price_per_kilowatt_hour",
        "gauge",
        "Price of electricity now.",
        lambda s: {(s.costs.currency,): s.costs.price_per_kwh} if s.costs else {},
        ("currency",),
    ),
    Family(
        "miner_electricity_cost",
        "gauge",
        "What the known energy has cost; falls while prices are negative.",
        lambda s: _money(s, lambda costs: costs.spent),
        ("currency", "basis"),
    ),
    Family(
        "miner_electricity_cost_per_share_difficulty",
        "gauge",
        "What an accepted share of difficulty 1 has cost.",
        lambda s: _money(s, lambda costs: costs.per_difficulty),
        ("currency", "basis"),
    ),
    Family(
        "miner_electricity_break_even_per_kilowatt_hour",
        "gauge",
        "Price of electricity at which mining earns nothing.",
        lambda s: _money(s, lambda costs: costs.break_even_per_kwh),
        ("currency", "basis"),
    ),
    Family(
        "miner_alarm_active",
        "gauge",
        "1 while the alarm is raised.",
        lambda s: {(x.rule, x.subject, x.severity): 1 for x in s.alarms if x.stage is Stage.ACTIVE},
        ("alarm", "subject", "severity"),
    ),
)

METER_FAMILIES: tuple[Family[MeterView], ...] = (
    Family(
        "miner_meter_readable",
        "gauge",
        "Whether the meter can be read.",
        lambda m: m.fault is None,
    ),
    Family("miner_meter_power_watts", "gauge", "Power by a wall meter.", lambda m: m.watts, unit="watts"),
    Family("miner_meter_energy_joules_total", "counter", "Energy by a wall meter.", lambda m: m.joules, unit="joules"),
    Family(
        "miner_meter_gap_seconds_total",
        "counter",
        "Time that is not in the meter's energy.",
        lambda m: m.gap_s,
        unit="seconds",
    ),
)

_DEVICE, _POOL, _MINER, _METER = ("device",), ("pool",), (), ("meter",)


class SnapshotCollector(Collector):
    """Renders whatever `snapshot` answers at the time of the scrape; touches nothing else."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterator[Metric]:
        """Every family, empty: guards against clashes and lets a scrape ask for single names."""
        return self._families(devices={}, pools={}, miner={}, meters={})

    def collect(self) -> Iterator[Metric]:
        """What is known at the moment."""
        snapshot = self._snapshot()
        families = self._families(
            devices=_named((device.info.id, device) for device in snapshot.devices),
            pools=_named((source.name, source) for source in snapshot.sources),
            miner={(): snapshot},
            meters=_named((meter.name, meter) for meter in snapshot.meters),
        )
        return (metric for metric in families if metric.samples)

    @staticmethod
    def _families(
        devices: Mapping[tuple[str, ...], DeviceView],
        pools: Mapping[tuple[str, ...], SourceView],
        miner: Mapping[tuple[str, ...], Snapshot],
        meters: Mapping[tuple[str, ...], MeterView],
    ) -> Iterator[Metric]:
        yield from (family.metric(devices, _DEVICE) for family in DEVICE_FAMILIES)
        yield from (family.metric(pools, _POOL) for family in POOL_FAMILIES)
        yield from (family.metric(miner, _MINER) for family in MINER_FAMILIES)
        yield from (family.metric(meters, _METER) for family in METER_FAMILIES)


def _named(views: Iterable[tuple[str, View]]) -> dict[tuple[str, ...], View]:
    """Views by label. One pool mined for two users has one name: a series that comes twice spoils the whole scrape."""
    named: dict[tuple[str, ...], View] = {}
    for name, view in views:
        label, number = name, 1
        while (label,) in named:
            number += 1
            label = f"{name} #{number}"
        named[label,] = view
    return named


def registry(snapshot: Callable[[], Snapshot]) -> CollectorRegistry:
    """A registry of our own: the miner's families and the process's CPU, memory and open files."""
    ours = CollectorRegistry()
    ours.register(SnapshotCollector(snapshot))
    ProcessCollector(registry=ours)
    return ours
