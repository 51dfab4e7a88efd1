"""Hand-made snapshots: a miner with one CPU on one source, and whatever a test wants otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from backends.base import DeviceInfo, Kind, Reading, State, Telemetry
from miner.telemetry.snapshot import DeviceView, Snapshot, SourceView
from miner.work.latency import Latencies

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\n\u202e\u200b\ud800"


def device(name: str = "cpu:0", *, state: State = State.MINING, **values: Any) -> DeviceView:
    """A CPU of which nothing but its hashing is known; `values` are DeviceView's or Telemetry's."""
    known = {key: values.pop(key) for key in list(values) if key in Telemetry.__dataclass_fields__}
    view = DeviceView(
        info=DeviceInfo(name, "cpu", Kind.CPU, "Example 9000"),
        telemetry=Telemetry(state, **known),
        hashes=583_000_000,
        rate_hps={10: 58.1e6, 60: 58.3e6, 900: None},
        measured_hps=None,
        hits=42,
        hardware_errors=0,
        faults={},
        shares=12,
        restarts=0,
    )
    return replace(view, **values)


def metered() -> DeviceView:
    """A virtual ASIC with every sensor there is."""
    view = device(
        "asic:A1",
        activity="ramp 3 of 5",
        power_w=9.5,
        power_source="usb",
        power_limit_w=12.0,
        temperatures_c=(Reading("chip", 61.4), Reading("board", 48.0)),
        fans_rpm=(Reading("front", 2400.0),),
        fan=0.6,
        frequency_hz=485e6,
        voltage_v=1.2,
        duty=0.75,
        expected_hps=500e9,
        energy_by={"usb": 95.0},
        measured_hps=480e9,
        hardware_errors=3,
        faults={"duplicate": 2, "outside": 1},
        restarts=1,
    )
    return replace(view, info=DeviceInfo("asic:A1", "asic", Kind.ASIC, "Stick", virtual=True, serial="A1"))


def source(name: str = "stratum+tcp://pool.example:3333", **values: Any) -> SourceView:
    view = SourceView(
        name=name,
        connected=True,
        active=True,
        priority=0,
        failed=None,
        submitted=14,
        accepted=11,
        rejected={"low-difficulty": 1},
        stale=2,
        blocks_accepted=3,
        blocks_rejected=0,
        accepted_difficulty=11264.0,
        difficulty=1024.0,
        latency_s=0.05,
        reconnects=0,
        job_age_s=3.2,
        hashes=500_000_000,
        sending_s=0.01,
        answering_s=0.04,
        latencies=Latencies().taken(0.05).taken(0.3),
    )
    return replace(view, **values)


def snapshot(*devices: DeviceView, sources: tuple[SourceView, ...] | None = None, **values: Any) -> Snapshot:
    shown = devices or (device(),)
    view = Snapshot(
        now=1000.0,
        mining_s=10.0,
        started_at=1_700_000_000.0,
        devices=shown,
        sources=(source(),) if sources is None else sources,
        hashes=sum(one.hashes for one in shown),
        rate_hps={10: 58.1e6, 60: 58.3e6, 900: None},
        best_difficulty=1234.5,
        height=840_000,
        network_difficulty=86.4e12,
        worthless=False,
    )
    return replace(view, **values)
