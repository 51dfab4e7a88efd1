"""`--summary FILE`: what a run did, as JSON for scripts. The keys are a contract; null is unknown."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from miner.books import files
from miner.telemetry.snapshot import Consumption, Costs, DeviceView, MeterView, Snapshot, SourceView
from miner.telemetry.totals import Totals

_TERA = 1e12


class SummaryError(Exception):
    """The summary cannot be written; the message is for the operator."""


def summarise(snapshot: Snapshot) -> dict[str, Any]:
    """The whole run. `seconds` is time with something to hash; compiling is left out of it."""
    totals = Totals.of(snapshot)
    return {
        "hashes": snapshot.hashes,
        "seconds": snapshot.mining_s,
        "hashes_per_second": _rate(snapshot.hashes, snapshot.mining_s),
        "blocks": {"accepted": totals.blocks_accepted, "rejected": totals.blocks_rejected},
        "shares": {
            "submitted": totals.submitted,
            "accepted": totals.accepted,
            "rejected": totals.rejected,
            "stale": totals.stale,
        },
        "hardware_errors": totals.hardware_errors,
        "consumption": {one.basis.value: _consumption(one) for one in snapshot.consumption},
        "meters": [_meter(meter) for meter in snapshot.meters],
        "costs": _costs(snapshot.costs) if snapshot.costs else None,
        "devices": [_device(device, snapshot.mining_s) for device in snapshot.devices],
        "sources": [_source(source) for source in snapshot.sources],
    }


def check_writable(path: Path) -> None:
    """Raise SummaryError now for what would otherwise fail after days of mining."""
    target = path.resolve()
    if target.is_dir():
        raise SummaryError(f"the summary cannot be written to {path}: it is a folder")
    if not target.parent.is_dir():
        raise SummaryError(f"the summary cannot be written to {path}: {target.parent} is not a folder")
    if not os.access(_written(target), os.W_OK):
        raise SummaryError(f"the summary cannot be written to {path}: no permission to write {_written(target)}")


def write(path: Path, snapshot: Snapshot) -> None:
    """Replace `path` by the summary at once and durably; a pipe or device is written to. Raises SummaryError."""
    data = json.dumps(summarise(snapshot), indent=2, allow_nan=False).encode() + b"\n"
    target = path.resolve()
    try:
        if _written(target) == target:
            target.write_bytes(data)
        else:
            files.replace_durably(target, data)
    except OSError as error:
        raise SummaryError(f"the summary cannot be written to {path}: {error.strerror}") from error


def _written(target: Path) -> Path:
    """What must be writable: the folder that takes the new file, or what stands there and is no file (/dev/null)."""
    return target if target.exists() and not target.is_file() else target.parent


def _device(device: DeviceView, mining_s: float) -> dict[str, Any]:
    info = device.info
    return {
        "id": info.id,
        "backend": info.backend,
        "kind": str(info.kind),
        "model": info.model,
        "virtual": info.virtual,
        "state": str(device.telemetry.state),
        "hashes": device.hashes,
        "hashes_per_second": _rate(device.hashes, mining_s),
        "hardware_errors": device.hardware_errors,
        "shares": device.shares,
        "restarts": device.restarts,
        "energy_joules": device.energy_j,
        "energy_joules_by_source": dict(device.energy_by),
        "joules_per_terahash": _per_terahash(device.joules_per_hash),
        "energy_modelled": device.energy_modelled,
    }


def _consumption(one: Consumption) -> dict[str, Any]:
    return {"energy_joules": one.joules, "joules_per_terahash": _per_terahash(one.joules_per_hash)}


def _meter(meter: MeterView) -> dict[str, Any]:
    return {"name": meter.name, "energy_joules": meter.joules, "gap_seconds": meter.gap_s, "fault": meter.fault}


def _costs(costs: Costs) -> dict[str, Any]:
    return {
        "currency": costs.currency,
        "basis": costs.basis.value,
        "spent": costs.spent,
        "per_share_difficulty": costs.per_difficulty,
        "break_even_price_per_kwh": costs.break_even_per_kwh,
    }


def _source(source: SourceView) -> dict[str, Any]:
    return {
        "name": source.name,
        "hashes": source.hashes,
        "shares": {
            "submitted": source.submitted,
            "accepted": source.accepted,
            "rejected": dict(source.rejected),
            "stale": source.stale,
        },
        "difficulty": source.accepted_difficulty,
        "blocks": {"accepted": source.blocks_accepted, "rejected": source.blocks_rejected},
        "reconnects": source.reconnects,
        "last_share_seconds": {"found_to_sent": source.sending_s, "sent_to_answered": source.answering_s},
    }


def _rate(hashes: int, seconds: float) -> float | None:
    return hashes / seconds if seconds > 0 else None


def _per_terahash(joules_per_hash: float | None) -> float | None:
    return None if joules_per_hash is None else joules_per_hash * _TERA
