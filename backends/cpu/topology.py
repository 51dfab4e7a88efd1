"""The machine's cores and which of them to hash on first, as Linux describes them under /sys.

A thread on the second half of a core (SMT) adds little to a search that fills the core's units, so every physical core
comes before any sibling; among physical cores the faster kind (P before E, big before little) comes first, and cores of
one memory node stand together.

Sources: the kernel's admin-guide (cputopology, node, cpu_capacity of arm64), perf's names of hybrid processors' units.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SYS = Path("/sys/devices")
_MOST = 1 << 16  # no machine has more cores; a list that says so is not one


@dataclass(frozen=True, slots=True)
class Core:
    """A logical core. What the machine does not tell is as if all cores were alike."""

    number: int
    sibling: int = 0  # its place among the usable threads of one physical core: 0 for the first
    node: int = 0  # of memory
    speed: tuple[int, ...] = (0,)  # larger is faster; comparable within a machine only

    @property
    def preference(self) -> tuple[object, ...]:
        """Sorts what to hash on first to the front."""
        return self.sibling, *(-x for x in self.speed), self.node, self.number


def survey(usable: Iterable[int], root: Path = _SYS) -> list[Core]:
    """The usable cores that are online, best first. Never fails: an unreadable /sys gives the plain order."""
    allowed = set(usable)
    online = _listed(root / "system/cpu/online")
    numbers = sorted(allowed & online or allowed)
    nodes = {
        number: int(folder.name[4:])
        for folder in (root / "system/node").glob("node[0-9]*")
        for number in _listed(folder / "cpulist")
    }
    efficient = _listed(root / "cpu_atom/cpus")
    found = [
        Core(
            number,
            sibling=_place(
                number, _listed(root / f"system/cpu/cpu{number}/topology/thread_siblings_list") & {*numbers}
            ),
            node=nodes.get(number, 0),
            speed=(
                _number(root / f"system/cpu/cpu{number}/cpu_capacity"),
                number not in efficient,
                _number(root / f"system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq"),
            ),
        )
        for number in numbers
    ]
    return sorted(found, key=lambda core: core.preference)


def spell(numbers: Iterable[int]) -> str:
    """Core numbers as taskset(1) and /sys write them: 0-3,6."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and number == spans[-1][-1] + 1:
            spans[-1] = [spans[-1][0], number]
        else:
            spans.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _place(number: int, siblings: set[int]) -> int:
    return sum(other < number for other in siblings)


def _listed(path: Path) -> set[int]:
    """A list as `spell` writes them; empty if there is none or it makes no sense."""
    numbers: set[int] = set()
    try:
        for span in path.read_text().strip().split(","):
            first, dash, last = span.partition("-")
            start, end = int(first), int(last if dash else first)
            if not 0 <= start <= end < _MOST:
                return set()
            numbers.update(range(start, end + 1))
    except (OSError, ValueError):
        return set()
    return numbers


def _number(path: Path) -> int:
    try:
        return max(int(path.read_text()), 0)
    except (OSError, ValueError):
        return 0
