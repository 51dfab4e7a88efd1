"""Which vector instructions follow each round instruction, and which idle ones.

A processor has places for a few instructions in a cycle. Beside a round instruction every cycle, what follows each must
neither want the same units nor come before what it reads; nops in the right places cost nothing and keep it so. What is
right cannot be derived, only found by trying: a template says it, cycle by cycle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from native.registers import Operation

LETTERS = "rsaluS*n"  # in templates: the kinds of instructions, any of them, none
# By how a mnemonic begins: the letter of its kind in templates, and its latency in cycles. All others are loads.
_KINDS = {"vpr": ("r", 2), "vps": ("s", 1), "vpa": ("a", 1), "vpx": ("a", 1), "vpu": ("u", 1)}


@dataclass(frozen=True, slots=True)
class Template:
    """A way to mix rounds and vector instructions.

    beats: what follows the round instructions, in turn: a letter for each instruction, * for any kind and n for a nop.
    groups: how many nonces' rounds go side by side; they add up to 16. window: how far ahead in the program an
    instruction may be taken from. pace: the places that a cycle has for vector instructions. margin: cycles added to
    latencies. low: use the registers below 16 that no round needs, too.
    """

    beats: tuple[str, ...]
    groups: tuple[int, ...]
    window: int
    pace: float
    margin: float
    low: bool = True


def arrange(program: Sequence[Operation], template: Template, beats: int) -> list[list[int | None]]:
    """The operations of each beat by number, None for a nop; one more beat has what is left over."""
    left = list(range(len(program)))
    ready_after: dict[int, float] = {}
    arranged: list[list[int | None]] = []
    place = 0
    for beat in islice(cycle(template.beats), beats):
        taken: list[int | None] = []
        for letter in beat:
            place += 1
            chosen = None if letter == "n" else _choose(program, left[: template.window], letter, ready_after, place)
            if chosen is not None:
                left.remove(chosen)
                ready_after[chosen] = place + (_kind(program[chosen])[1] + template.margin) * template.pace
            if chosen is not None or letter == "n":
                taken.append(chosen)
        arranged.append(taken)
    return [*arranged, [*left]]


def _choose(
    program: Sequence[Operation], near: Sequence[int], letter: str, ready_after: dict[int, float], place: int
) -> int | None:
    """The first that is ready and of the right kind, or the first that is ready, or that which is ready soonest."""
    best: int | None = None
    soonest = 0.0
    for number in near:
        sources = program[number].sources
        if not all(value in ready_after for value in sources):
            continue
        ready = max((ready_after[value] for value in sources), default=0.0)
        late = max(ready - place, 0.0)
        if late == 0 and letter in {"*", _kind(program[number])[0]}:
            return number
        if best is None or late < soonest:
            best, soonest = number, late
    return best


def _kind(operation: Operation) -> tuple[str, int]:
    if operation.stores:
        return "S", 0
    return _KINDS.get(operation.mnemonic[:3], ("l", 6))
