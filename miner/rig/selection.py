"""Selects the devices that mine: those that the operator asked for and that the rules of consent allow.

Real GPUs and ASICs never start on the embedded chain unless the operator named it, because its coins are worthless and
the watts are not. Emulated devices draw no power.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from backends.base import DeviceInfo, Kind, Rest
from miner.printable import printable

_NO_CONSENT = "it would burn power on a chain without value: name a pool, or --pool embedded: if that is wanted"


class SelectionError(Exception):
    """The selection leaves no device. The message lists the devices found."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The devices that mine, and for each other device why it does not."""

    chosen: tuple[DeviceInfo, ...]
    passed_over: tuple[tuple[DeviceInfo, str], ...]


def select(devices: Sequence[DeviceInfo], wanted: Sequence[str], *, consented: bool) -> Selection:
    """Choose from `devices`, whose order gives the indices.

    `wanted`: indices, ids, kinds, backends' names or parts of a model's name. Empty selects every usable device except
    opt-in ones (`on_request`). A kind, backend or model name selects opt-in devices only if it matches nothing else.
    `consented`: whether the operator named a pool. Raises SelectionError when an entry, or all of them, select nothing.
    """
    obstacles = {device.id: obstacle(device, consented=consented) for device in devices}
    asked = {device.id for entry in wanted for device in _asked(devices, obstacles, entry)}
    chosen, passed_over = [], []
    for device in devices:
        reason = obstacles[device.id] or _left_out(device, asked if wanted else None)
        if reason is None:
            chosen.append(device)
        else:
            passed_over.append((device, reason))
    if not chosen:
        raise SelectionError("no device can mine: " + (_each(devices, obstacles) or "none was found"))
    return Selection(tuple(chosen), tuple(passed_over))


def obstacle(device: DeviceInfo, *, consented: bool) -> str | None:
    """Why this device must not start, None if it may."""
    if device.unusable is not None:
        return device.unusable
    if not consented and device.kind is not Kind.CPU and not device.virtual:
        return _NO_CONSENT
    return None


def rest_text(rest: Rest, now: float) -> str:
    """Why this device is off, and until about when. `now`: Unix time."""
    begin = "as soon as it is cool" if now >= rest.until else f"at {_clock_time(rest.until)}, if it is cool by then"
    return f"turned off for safety at {_clock_time(rest.since)} ({rest.reason}); it starts again {begin}"


def _clock_time(unix_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def _left_out(device: DeviceInfo, asked: set[str] | None) -> str | None:
    """Why a usable device does not mine, None if it does. asked: ids of the named devices; None when none was named."""
    if asked is None:
        return device.on_request
    return None if device.id in asked else "not selected"


def _asked(devices: Sequence[DeviceInfo], obstacles: dict[str, str | None], entry: str) -> list[DeviceInfo]:
    meant = matching(devices, entry)
    if not meant:
        there = ", ".join(f"{index} {x.id} ({x.kind}, {x.model})" for index, x in enumerate(devices))
        there = printable(there) or "no device at all"
        raise SelectionError(f"--device {printable(entry)} fits nothing; there is: {there}")
    able = [device for device in meant if obstacles[device.id] is None]
    able = [device for device in able if device.on_request is None] or able
    if not able:
        raise SelectionError(f"--device {printable(entry)}: {_each(meant, obstacles)}")
    return able


def matching(devices: Sequence[DeviceInfo], entry: str) -> list[DeviceInfo]:
    """The devices that an entry of --device matches: by id, else index, else kind or backend, else part of a name."""
    word = entry.casefold()
    if exact := [device for device in devices if device.id.casefold() == word]:
        return exact
    if entry.isascii() and entry.isdigit():
        return [device for index, device in enumerate(devices) if str(index) == entry.lstrip("0").rjust(1, "0")]
    if alike := [device for device in devices if word in (device.kind.value, device.backend.casefold())]:
        return alike
    return [device for device in devices if word in device.model.casefold()]


def _each(devices: Sequence[DeviceInfo], obstacles: dict[str, str | None]) -> str:
    reasons = ((device, obstacles[device.id] or device.on_request or "not selected") for device in devices)
    return "; ".join(f"{_named(device)}: {printable(reason)}" for device, reason in reasons)


def _named(device: DeviceInfo) -> str:
    return printable(f"{device.id} ({device.model})")
