"""The processor's own energy counters, as Linux shows them under /sys/class/powercap (Intel and AMD).

Source: Linux documentation, power/powercap/powercap.rst. Packages are added up, with their memory where it has a
counter beside them; the parts inside a package are already in it, and the platform's counter holds all of the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from miner.power.errors import Nonsense, Unreadable
from miner.power.reading import Counter, Sample

ROOT = Path("/sys/class/powercap")
MOST_W = 2_000.0  # of one zone: a package of today draws 500
_TEXT_MAX = 64  # characters; no counter needs as many
_REMEDY = (
    "only root may read it on current kernels; a line in /etc/tmpfiles.d gives it to the group of the miner: "
    "z /sys/class/powercap/*/energy_uj 0440 root angara"
)


@dataclass(frozen=True, slots=True)
class Zone:
    """One counter. `range_j`: where it starts again at 0."""

    name: str  # "package-0", "package-0/dram"
    file: Path
    range_j: float


def zones(root: Path = ROOT) -> tuple[Zone, ...]:
    """The counters that together are the processor, each watt in one of them; empty where there are none."""
    found = []
    for folder in sorted(root.glob("intel-rapl:*")):  # AMD's processors have them under this name too
        name = _text(folder / "name")
        outer = _text(root / folder.name.rpartition(":")[0] / "name") if folder.name.count(":") > 1 else None
        if name is None or not (name.startswith("package") if outer is None else name == "dram"):
            continue
        try:
            range_j = int(_text(folder / "max_energy_range_uj") or "") / 1e6
        except ValueError:
            continue
        if range_j > 0:
            found.append(Zone(f"{outer}/{name}" if outer else name, folder / "energy_uj", range_j))
    return tuple(found)


def read(zone: Zone) -> float:
    """Joules now. Raises Unreadable, Nonsense."""
    try:
        text = _read(zone.file)
    except PermissionError as error:
        raise Unreadable(f"the energy counter of {zone.name} is not readable: {_REMEDY}") from error
    except OSError as error:
        raise Unreadable(f"the energy counter of {zone.name} is gone: {error.strerror}") from error
    if not (text.isascii() and text.isdigit()):
        raise Nonsense(f"the energy counter of {zone.name} says {text!r}")
    joules = int(text) / 1e6
    if joules > zone.range_j:
        raise Nonsense(f"the energy counter of {zone.name} says {joules:g} J of at most {zone.range_j:g} J")
    return joules


def _text(file: Path) -> str | None:
    try:
        return _read(file)
    except OSError:
        return None


def _read(file: Path) -> str:
    """The beginning of a file, however long it is. Raises OSError."""
    with file.open(encoding="ascii", errors="replace") as opened:
        return opened.read(_TEXT_MAX).strip()


class Rapl:
    """The processor as a meter: a counter for each zone. Each wraps at a moment of its own."""

    name = "rapl"

    def __init__(self, zones: tuple[Zone, ...], clock: Callable[[], float] = time.monotonic) -> None:
        self._zones = zones
        self._clock = clock

    def read(self, timeout_s: float) -> Sample:  # noqa: ARG002 - a file has no time-out: the thread is its own bound
        return Sample(self._clock(), counters=tuple(Counter(read(zone), zone.range_j) for zone in self._zones))

    def close(self) -> None:
        """Nothing is held open."""
