"""The fewest cycles that a hash can take on one core, from what its kernel counts and what the core can begin.

    SHA instructions    their round pairs, by the one unit that does them: whatever else there is runs beside it
    vectors             all operations on words, by all pipes that add; that fewer of them rotate is not counted

Sources: both processors measured, the round pairs in three to eight independent chains; Intel's vector ports (0, 1, 5)
from its Optimization Reference Manual. Other processors have no floor here rather than a guessed one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from native import Layout, Operations


@dataclass(frozen=True, slots=True)
class Core:
    """What one core begins in a cycle. vectors: additions, by the bits of the vector."""

    name: str
    round_pairs: float
    vectors: Mapping[int, float]

    @property
    def assumption(self) -> str:
        """The table above in words."""
        widths = ", ".join(f"{count:g} of {bits} bits" for bits, count in self.vectors.items())
        return f"{self.name} begins in a cycle {self.round_pairs:.2g} pairs of rounds; vector operations: {widths}"


ZEN_4 = Core("Zen 4", 1.0, {128: 4, 256: 4, 512: 2})
ICE_LAKE = Core("Intel since Ice Lake", 1 / 3, {128: 3, 256: 3, 512: 2})

_CORES = {  # by LLVM's name of the processor
    "znver4": ZEN_4,
    **dict.fromkeys(
        (
            "icelake-client",
            "icelake-server",
            "tigerlake",
            "rocketlake",
            "alderlake",
            "raptorlake",
            "sapphirerapids",
            "emeraldrapids",
            "graniterapids",
        ),
        ICE_LAKE,
    ),
}


def core_named(cpu: str) -> Core | None:
    """The core behind LLVM's name of a processor; None if nobody looked into it yet."""
    return _CORES.get(cpu)


def per_hash(layout: Layout, midstates: int) -> dict[str, float]:
    """Operations by kind for one hash, when so many midstates share what they can."""
    kinds = Operations.__slots__
    return {kind: getattr(layout.own, kind) + getattr(layout.shared, kind) / midstates for kind in kinds}


def operations(layout: Layout, midstates: int, *, ternary: bool) -> float:
    """All operations for one hash.

    ternary: whether the target rotates, and takes any function of three words, in one.
    """
    own, shared = ((x.total if ternary else two_operand_total(x)) for x in (layout.own, layout.shared))
    return own + shared / midstates


def two_operand_total(counted: Operations) -> int:
    """Operations on a machine with two-operand logic and no rotation: AVX2, SSE, NEON.

    A rotation is two shifts and an or, Ch three operations, and so is Maj, sharing an exclusive or with its neighbour
    round.
    """
    return counted.total + 2 * counted.rotate + counted.xor3 + 2 * (counted.choose + counted.majority)


def cycles(core: Core, layout: Layout, midstates: int, lanes: int, *, ternary: bool) -> float | None:
    """The floor for one hash; None where it is not known. lanes: words in a vector. ternary: as above."""
    if pairs := layout.own.round_pairs + layout.shared.round_pairs / midstates:
        return pairs / core.round_pairs
    if not (pipes := core.vectors.get(32 * lanes)):
        return None
    return operations(layout, midstates, ternary=ternary) / lanes / pipes
