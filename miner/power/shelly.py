"""Shelly's plugs, relays and meters over HTTP, of the first generation and of all since.

Source: Shelly's API documentation: gen 1 "common HTTP API" (/shelly, /status: meters count watt-minutes, emeters watt-
hours) and "Gen2+ device API" (/rpc/Shelly.GetStatus; components switch, pm1, em, em1, ...; watt-hours). A password is
proven by Basic in the first and by Digest in the others, always as admin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from miner.power import reading
from miner.power.errors import Nonsense
from miner.power.reading import WH_J, Counter, Sample
from miner.power.web import Web

USER = "admin"
_WATT_MINUTE_J = 60.0
_CHANNELS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Channel:
    watts: object
    count: object
    count_j: float


class Shelly:
    """One device. `channel`: which of its meters; None: all of them together."""

    def __init__(self, web: Web, channel: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = web.who
        self._web = web
        self._channel = channel
        self._clock = clock
        self._first: bool | None = None  # whether it is of the first generation

    def read(self, timeout_s: float) -> Sample:
        deadline = time.monotonic() + timeout_s
        if self._first is None:
            about = self._web.get("/shelly", deadline)
            if not isinstance(about, dict) or not ({"type", "gen"} & about.keys()):
                raise Nonsense(f"{self.name} is no Shelly")
            self._first = "gen" not in about
        status = self._web.get("/status" if self._first else "/rpc/Shelly.GetStatus", deadline)
        if not isinstance(status, dict):
            raise Nonsense(f"{self.name} tells no status")
        channels = list(_first_generation(status) if self._first else _later(status))[:_CHANNELS_MAX]
        if self._channel is not None:
            channels = channels[self._channel : self._channel + 1]
        if not channels:
            which = "meter" if self._channel is None else f"channel {self._channel}"
            raise Nonsense(f"{self.name} has no {which} that measures power")
        counters = tuple(
            Counter(reading.joules(channel.count, self.name, channel.count_j), step_j=channel.count_j)
            for channel in channels
            if channel.count is not None
        )
        watts = sum(reading.watts(channel.watts, self.name) for channel in channels)
        return Sample(self._clock(), watts, counters if len(counters) == len(channels) else ())

    def close(self) -> None:
        """Nothing is held open. What it is may change while nobody looks."""
        self._first = None


def _first_generation(status: Mapping[str, Any]) -> Iterator[_Channel]:
    """A 3EM has emeters and no meters; those that have both repeat themselves."""
    emeters = _maps(status.get("emeters"))
    for meter in emeters or _maps(status.get("meters")):
        if meter.get("is_valid", True) is not False:
            yield _Channel(meter.get("power"), meter.get("total"), WH_J if emeters else _WATT_MINUTE_J)


def _later(status: Mapping[str, Any]) -> Iterator[_Channel]:
    """Components in the device's own order; a three-phase meter is one channel, its energy in a component beside it."""
    for key, part in status.items():
        if not isinstance(part, dict):
            continue
        kind, _, number = key.partition(":")
        if "apower" in part:
            energy = part.get("aenergy")
            yield _Channel(part["apower"], energy.get("total") if isinstance(energy, dict) else None, WH_J)
        elif kind == "em":
            yield _Channel(part.get("total_act_power"), _member(status, f"emdata:{number}", "total_act"), WH_J)
        elif kind == "em1":
            yield _Channel(part.get("act_power"), _member(status, f"em1data:{number}", "total_act_energy"), WH_J)


def _member(status: Mapping[str, Any], component: str, key: str) -> object:
    part = status.get(component)
    return part.get(key) if isinstance(part, dict) else None


def _maps(value: object) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
