"""Which plugged-in device is which board. Strings decide: most of the ids are those of any serial adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import native
from backends.asic.boards import bitaxe_gamma, compac_a1, compac_f
from backends.asic.boards.bitaxe_gamma import BitaxeGamma
from backends.asic.boards.board import Board, BoardKind
from backends.asic.boards.chain import Options
from backends.asic.boards.compac_a1 import CompacA1
from backends.asic.boards.compac_f import CompacF
from backends.asic.chips.jobs import Midstates
from backends.asic.usb import ids
from backends.asic.usb.bridge import Bridge, Parity
from backends.asic.usb.bus import UsbIdentity
from backends.base import Misuse


class Ports(Protocol):
    """An opened device, as `usb.device.UsbDevice` is one."""

    @property
    def ports(self) -> int: ...

    def bridge(self, port: int, parity: Parity = Parity.NONE) -> Bridge: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A board and how it is recognised: all of these must be as its maker wrote them."""

    kind: BoardKind
    vid: int
    pid: int
    manufacturer: str
    product: str
    ports: int

    def matches(self, identity: UsbIdentity) -> bool:
        """Whether this is such a board."""
        theirs = (identity.vid, identity.pid, identity.manufacturer, identity.product)
        return theirs == (self.vid, self.pid, self.manufacturer, self.product)


CATALOGUE = (
    Entry(compac_f.KIND, ids.FTDI, ids.FT230X, "GekkoScience", "CompacF Bitcoin Miner", ports=1),
    Entry(bitaxe_gamma.KIND, ids.OSMU, ids.BITAXE_RAW, "OSMU", "Bitaxe", ports=2),
    Entry(compac_a1.KIND, ids.SILICON_LABS, ids.CP2105, "Silicon Labs", "GekkoScience Compac A1", ports=2),
)
KINDS = {entry.kind.name: entry.kind for entry in CATALOGUE}


def recognise(identity: UsbIdentity) -> BoardKind | None:
    """The board that this is; None for everything that does not say so itself."""
    return next((entry.kind for entry in CATALOGUE if entry.matches(identity)), None)


def open_board(
    kind: BoardKind, ports: Ports, options: Options | None = None, midstates: Midstates = native.midstates
) -> Board:
    """The board behind an opened device; it is claimed and set up, and not turned on.

    midstates: what computes them for chips that take them, such as `functools.partial(native.midstates, folder=...)`.
    Raises Misuse when the device lacks a port that the board needs, and what opening a bridge raises.
    """
    entry = next((entry for entry in CATALOGUE if entry.kind == kind), None)
    if entry is None:
        raise Misuse(f"no driver for {kind.title}")
    if ports.ports < entry.ports:
        raise Misuse(f"{kind.title}: {ports.ports} serial ports where {entry.ports} are needed")
    open_: dict[str, Callable[[Options], Board]] = {
        compac_f.KIND.name: lambda options: CompacF(ports.bridge(0), options, midstates),
        bitaxe_gamma.KIND.name: lambda options: BitaxeGamma(ports.bridge(0), ports.bridge(1), options),
        compac_a1.KIND.name: lambda options: CompacA1(ports.bridge(0, Parity.MARK), ports.bridge(1), options),
    }
    return open_[kind.name](options or Options())
