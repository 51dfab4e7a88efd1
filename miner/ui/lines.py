"""What a pipe sees: log events that follow from two snapshots, and a status line now and then. No clock, no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from backends.base import State
from miner.telemetry.snapshot import Basis, Consumption, DeviceView, Snapshot
from miner.telemetry.totals import Totals

from . import quantities

STATUS_S = 10.0

_LEVELS: dict[State, Literal["warning", "error"]] = {State.SICK: "warning", State.DEAD: "error"}


@dataclass(frozen=True, slots=True)
class Line:
    """One log event."""

    level: Literal["info", "warning", "error"]
    event: str
    values: dict[str, Any] = field(default_factory=dict)

    def emit(self, log: Any) -> None:
        """Hand it to a structlog logger."""
        getattr(log, self.level)(self.event, **self.values)


class Reporter:
    """Feeds on snapshots, at whatever pace; answers what to log."""

    def __init__(self, status_s: float = STATUS_S) -> None:
        self._status_s = status_s
        self._previous: Snapshot | None = None
        self._status_at: float | None = None

    def handle(self, snapshot: Snapshot) -> list[Line]:
        """What changed since the last call, and the status every `status_s` seconds of the snapshots' clock."""
        lines = changes(self._previous, snapshot)
        self._previous = snapshot
        if self._status_at is None:
            self._status_at = snapshot.now + self._status_s
        elif snapshot.now >= self._status_at:
            self._status_at = snapshot.now + self._status_s
            lines.append(status(snapshot))
        return lines


def changes(previous: Snapshot | None, current: Snapshot) -> list[Line]:
    """What a person wants to hear at once of devices; everything is new where there is no `previous`.

    Sources, shares and blocks are logged by the engine as they happen, with their reasons.
    """
    devices = {device.info.id: device for device in previous.devices} if previous else {}
    lines = [line for device in current.devices for line in _device(devices.get(device.info.id), device)]
    present = {device.info.id for device in current.devices}
    lines += [Line("warning", "device_gone", {"device": device}) for device in devices if device not in present]
    return lines


def status(snapshot: Snapshot) -> Line:
    """Where the run stands; what is unknown is left out."""
    totals = Totals.of(snapshot)
    rate = snapshot.rate_hps.get(60)
    active = next((source for source in snapshot.sources if source.active), None)
    best = snapshot.consumption[0] if snapshot.consumption else None
    states = [device.telemetry.state for device in snapshot.devices]
    values = {
        "rate": None if rate is None else quantities.hash_rate(rate),
        "hashes": snapshot.hashes,
        "mining_s": round(snapshot.mining_s, 1),
        "devices": f"{states.count(State.MINING)}/{len(states)}",
        "source": active.name if active else None,
        "height": snapshot.height,
        "blocks": totals.blocks_accepted,
        "accepted": totals.accepted,
        "rejected": totals.rejected,
        "stale": totals.stale,
        "hardware_errors": totals.hardware_errors,
        "power": _drawn(best, quantities.power, best.watts if best else None),
        "efficiency": _drawn(best, quantities.efficiency, best.joules_per_hash if best else None),
        "worthless": snapshot.worthless or None,
    }
    return Line("info", "status", {key: value for key, value in values.items() if value is not None})


def _drawn(best: Consumption | None, shown: Callable[[float], str], value: float | None) -> str | None:
    """A figure of what is drawn, marked where it is not all measured."""
    if best is None or value is None:
        return None
    return quantities.modelled(shown(value)) if best.basis is Basis.MODEL else shown(value)


def _device(previous: DeviceView | None, current: DeviceView) -> Iterator[Line]:
    now = current.telemetry
    if previous and previous.telemetry.state is now.state:
        return
    values: dict[str, Any] = {"device": current.info.id, "state": str(now.state)}
    if now.fault is not None:
        values["reason"] = now.fault
    usual: Literal["info", "warning"] = "info" if now.fault is None or now.state is State.OFF else "warning"
    yield Line(_LEVELS.get(now.state, usual), "device_state", values)
