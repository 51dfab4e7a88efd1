"""Which program holds a device file, as far as /proc tells this user."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_PROC = Path("/proc")
_NAME_MAX = 32


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has the file open."""

    pid: int
    name: str


def holders(nodes: Iterable[Path], proc: Path = _PROC) -> list[Holder]:
    """Every process with one of these device files open, this one among them; without those hidden from this user."""
    wanted = {str(node) for node in nodes}
    if not wanted:
        return []  # nothing is looked up: reading all of /proc takes time
    return [Holder(pid, _name(proc, pid)) for pid in _pids(proc) if not wanted.isdisjoint(_open_files(proc, pid))]


def sentence(nodes: Iterable[Path], proc: Path = _PROC) -> str:
    """For the operator: who holds it, or how to find out."""
    if nodes := list(nodes):
        return sentence_of(nodes[0], holders(nodes, proc))
    return "in use by another program or another miner"


def sentence_of(node: Path, found: Iterable[Holder]) -> str:
    """The same for one device file whose holders were found already."""
    others = [f"{h.name} (process {h.pid})" for h in found if h.pid != os.getpid()]
    if others:
        return f"in use by {', '.join(others)}: stop that program first"
    return f"in use by another program or another miner: `sudo fuser -v {node}` names it"


class OneLook:
    """Who holds what, looked up once however many device files are asked about, and not before the first is."""

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc

    def obstacle(self, node: Path) -> str | None:
        """Who else holds this device file; None: this process does."""
        if str(node) in self._ours:
            return None
        return sentence_of(node, self._everyone[str(node)])

    @cached_property
    def _ours(self) -> frozenset[str]:
        return frozenset(_open_files(self._proc, os.getpid()))

    @cached_property
    def _everyone(self) -> defaultdict[str, list[Holder]]:
        found: defaultdict[str, list[Holder]] = defaultdict(list)
        for pid in _pids(self._proc):
            for file in set(_open_files(self._proc, pid)):
                if file.startswith("/"):  # a pipe or a socket does not
                    found[file].append(Holder(pid, _name(self._proc, pid)))
        return found


def _pids(proc: Path) -> Iterator[int]:
    try:
        names = [entry.name for entry in proc.iterdir()]
    except OSError:
        return
    yield from sorted(int(name) for name in names if name.isdecimal())


def _open_files(proc: Path, pid: int) -> Iterator[str]:
    folder = proc / str(pid) / "fd"
    try:
        links = list(folder.iterdir())
    except OSError:  # another user's, or ended meanwhile
        return
    for link in links:
        try:
            yield str(link.readlink())
        except OSError:
            continue  # closed meanwhile


def _name(proc: Path, pid: int) -> str:
    try:
        text = (proc / str(pid) / "comm").read_text(errors="replace")
    except OSError:
        return "a program"
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:_NAME_MAX] or "a program"
