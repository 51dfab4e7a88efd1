"""The kinds of virtual boards, and how one is ordered: `KIND`, or `KIND,fault=NAME[:NUMBER],...,serial=TEXT`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from .boards.bitaxe_gamma import BitaxeGamma
from .boards.board import Specification, Surroundings, VirtualBoard
from .boards.compac_a1 import CompacA1
from .boards.compac_f import CompacF
from .faults import Fault, Faults, parse_fault

_SERIAL = re.compile(r"[0-9A-Za-z]{1,16}")


class _MakeBoard(Protocol):
    specification: Specification

    def __call__(self, around: Surroundings, serial: str) -> VirtualBoard: ...


_KINDS: dict[str, _MakeBoard] = {kind.specification.name: kind for kind in (CompacF, BitaxeGamma, CompacA1)}


@dataclass(frozen=True, slots=True)
class Order:
    """A board to be plugged in; serial None: one is made up from its place."""

    kind: str
    serial: str | None = None
    faults: tuple[tuple[Fault, float], ...] = ()


def catalogue() -> list[Specification]:
    """What there is."""
    return [make.specification for make in _KINDS.values()]


def parse_order(text: str) -> Order:
    """Raises ValueError with a sentence for the operator."""
    kind, *options = text.split(",")
    if kind not in _KINDS:
        raise ValueError(f"no virtual board {kind!r}: there are {', '.join(_KINDS)}")
    serial, faults = None, []
    for option in options:
        name, _, value = option.partition("=")
        if name == "fault":
            faults.append(parse_fault(value))
        elif name == "serial" and _SERIAL.fullmatch(value):
            serial = value
        else:
            raise ValueError(f"{option!r} is neither fault=NAME[:NUMBER] nor serial= and up to 16 letters")
    return Order(kind, serial, tuple(faults))


def specification(order: Order) -> Specification:
    """What the catalogue says of the ordered kind."""
    return _KINDS[order.kind].specification


def build(order: Order, around: Surroundings, place: int) -> VirtualBoard:
    """`place` (from 1) is what an unnamed board's serial is made from. Its faults are `around.faults`, set here."""
    around.faults = Faults(seed=place)
    for fault, value in order.faults:
        around.faults.set(fault, value)
    with around.changed:
        return _KINDS[order.kind](around, order.serial or f"{0xF0000000 + place:08x}")
