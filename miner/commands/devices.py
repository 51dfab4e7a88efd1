"""What `miner devices` says about each device. The command line prints it."""

from __future__ import annotations

from dataclasses import asdict

from backends.base import DeviceInfo
from miner.rig.selection import obstacle, rest_text


def standing(info: DeviceInfo, holder: str | None, now: float, *, consented: bool) -> tuple[str, str | None]:
    """Whether this device would mine if a run began now, and why not; `now`: Unix time, `holder`: who drives it."""
    rests = None if info.resting is None else rest_text(info.resting, now)
    if holder is not None and info.unusable is None:
        return "in use", f"by {holder}" + (f"; {rests}" if rests else "")
    if (reason := obstacle(info, consented=consented)) is not None:
        return "cannot mine", reason
    if rests is not None:
        return "rests", rests
    if info.on_request is not None:
        return "only when asked", info.on_request
    return "ready", None


def plain(info: DeviceInfo) -> dict[str, object]:
    """Return the fields of a device as JSON takes them."""
    return {**asdict(info), "capabilities": sorted(info.capabilities), "details": dict(info.details)}
