"""Emulated boards, down to descriptors and control transfers: to try the miner, and to test its drivers.

Written from the boards' reference alone: nothing here imports `chips/` or `boards/` beside it. One model per device
(`usb/`: the bridge; `chips/`: what hangs on it; `boards/`: how they are wired) stands behind every front:

    VirtualBus     in this process, through pyusb: `miner --backend asic --virtual KIND`, tests
    serve.py       over USB/IP: any Linux machine can attach it (`python -m backends.asic.virtual --serve KIND`)

`VirtualBus.scale` says what part of a real board's hashes is really done, and what a driver must make of that.
"""

from .boards.board import Specification, VirtualBoard
from .bus import VirtualBus
from .catalogue import Order, catalogue, parse_order
from .faults import Fault, Faults

__all__ = [
    "Fault",
    "Faults",
    "Order",
    "Specification",
    "VirtualBoard",
    "VirtualBus",
    "catalogue",
    "parse_order",
]
