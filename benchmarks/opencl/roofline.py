"""The most hashes a second that a graphics card can do: what a hash costs there, lanes, clock.

    slots     instructions of one lane that the busiest pipe has to begin for a hash
    NVIDIA    logic of three words and funnel shifts on one pipe; additions have another, and are fewer
    AMD       everything on one pipe: GCN has v_alignbit and v_bfi, takes two for a majority; GCN 5 adds three words in
              one, RDNA also takes the exclusive or of three

Sources: NVIDIA's CUDA C++ Programming Guide, table of arithmetic throughput (64 lanes for 32-bit shifts and logic in a
multiprocessor, compute capability 7.0 to 9.0); AMD's instruction set manuals (64 lanes in a compute unit, v_add3_u32
from GCN 5 and v_xor3_b32 from RDNA on). Others have no roofline here rather than a guessed one.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Literal

from backends.opencl.worker.source import Form, search_source
from native import Operations, layout

Family = Literal["nvidia", "gcn", "gcn5", "rdna"]

_SUM = re.compile(r"const word (\w+) = (\S+) \+ (\S+);")
_NAME = re.compile(r"\b[vw]\d*_?\d+\b")


@dataclass(frozen=True, slots=True)
class Metal:
    """A card's family, and how many lanes begin an instruction in each cycle."""

    family: Family
    lanes: int


def operations(midstates: int) -> Operations:
    """Of so many versions together, on words."""
    return sum((layout().own for _ in range(midstates)), layout().shared)


@cache
def slots_per_hash(family: Family, midstates: int = 1) -> float:
    """Instructions for one version of one nonce, as the family counts them."""
    done = operations(midstates)
    if family == "nvidia":
        return (done.total - done.add) / midstates
    logic = done.choose + 2 * done.majority + done.rotate + done.shift
    adds = done.add if family == "gcn" else sums_of_three(midstates)
    return (logic + adds + (1 if family == "rdna" else 2) * done.xor3) / midstates


@cache
def sums_of_three(midstates: int) -> int:
    """Additions where one instruction adds three words: a sum that only another sum uses becomes part of it."""
    text = search_source(Form(midstates=midstates))
    sums = {name: (a, b) for name, a, b in _SUM.findall(text)}
    uses = Counter(_NAME.findall(text))  # and once where it is made
    inner = {x for pair in sums.values() for x in pair if x in sums and uses[x] == 2}

    def words(name: str) -> int:
        return sum(words(x) if x in inner else 1 for x in sums[name])

    return sum(words(name) // 2 for name in sums if name not in inner)


def metal(vendor: str, name: str, units: int, capability: tuple[int, int] | None) -> Metal | None:
    """What a device is, by its driver's words; `capability`: NVIDIA's. None where its lanes are not known here."""
    if "nvidia" in vendor.lower():
        return Metal("nvidia", 64 * units) if capability and (7, 0) <= capability <= (9, 0) else None
    if "advanced micro devices" not in vendor.lower() and not name.startswith("gfx"):
        return None
    generation = re.match(r"gfx(\d+)[0-9a-f]{2}\b", name)
    number = int(generation[1]) if generation else 0
    if number >= 10:  # the driver counts pairs of compute units from RDNA on
        return Metal("rdna", 2 * 64 * units)
    return Metal("gcn5" if number == 9 else "gcn", 64 * units)


def most_hps(device: Metal, clock_hz: float, midstates: int = 1) -> float:
    """Hashes a second at this clock."""
    return device.lanes * clock_hz / slots_per_hash(device.family, midstates)
