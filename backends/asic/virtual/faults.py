"""Faults on demand: what real boards do on their bad days, switched on for one virtual board.

A fault is a name and a number. For most the number is the probability per occasion (1: always); DEAD_CHIP and
STUCK_CORE name which one, HOT and COOLER degrees Celsius, UNPLUG and SILENCE the seconds after which it happens.
"""

from __future__ import annotations

import random
from enum import StrEnum


class Fault(StrEnum):
    """What can go wrong."""

    CRC = "crc"  # a reply with a flipped bit
    GARBAGE = "garbage"  # random bytes in front of a reply
    DUPLICATE = "duplicate"  # a nonce told twice
    LATE = "late"  # a nonce held back until the next job has come
    LYING = "lying"  # a nonce, well framed, that hashes to nothing
    DEAD_CHIP = "dead-chip"  # this chip of the chain (0: the first) says and does nothing
    STUCK_CORE = "stuck-core"  # this core reports the same nonce over and over
    HOT = "hot"  # chip and regulator are at least this hot, degrees Celsius
    COOLER = "cooler"  # the cooler is off: while chips hash, whatever their clock, they near this many degrees Celsius
    SENSOR = "sensor"  # temperatures cannot be read
    SHORT = "short"  # an OUT transfer takes only part of its data
    SPLIT = "split"  # IN data comes in pieces, cut anywhere
    STALL = "stall"  # a bulk endpoint halts
    SILENCE = "silence"  # chips say nothing any more, this many seconds after it was set
    UNPLUG = "unplug"  # the plug is pulled, this many seconds after it was set


DEFAULTS = {
    Fault.DEAD_CHIP: 0.0,
    Fault.STUCK_CORE: 0.0,
    Fault.HOT: 120.0,
    Fault.COOLER: 120.0,
    Fault.SILENCE: 0.0,
    Fault.UNPLUG: 0.0,
}


def parse_fault(text: str) -> tuple[Fault, float]:
    """`NAME` or `NAME:NUMBER`, as the command line has it. Raises ValueError."""
    name, colon, number = text.partition(":")
    try:
        fault = Fault(name)
        value = float(number) if colon else DEFAULTS.get(fault, 1.0)
    except ValueError:
        known = ", ".join(Fault)
        raise ValueError(f"no fault {text!r}: one of {known}, with :NUMBER where it takes one") from None
    if not 0 <= value < 1e6:
        raise ValueError(f"fault {text!r}: {value} is out of range")
    return fault, value


class Faults:
    """The faults of one board. Reproducible: the same seed strikes at the same occasions."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)  # noqa: S311 # mischief, not secrets
        self._values: dict[Fault, float] = {}

    def set(self, fault: Fault, value: float | None = None) -> None:
        """Switch a fault on; None: its usual value."""
        self._values[fault] = DEFAULTS.get(fault, 1.0) if value is None else value

    def clear(self, fault: Fault | None = None) -> None:
        """Switch a fault off; None: all of them."""
        if fault is None:
            self._values.clear()
        else:
            self._values.pop(fault, None)

    def value(self, fault: Fault) -> float | None:
        """The fault's number; None while it is off."""
        return self._values.get(fault)

    def strikes(self, fault: Fault) -> bool:
        """Whether it happens at this occasion."""
        probability = self._values.get(fault)
        return probability is not None and self.random.random() < probability

    def names(self, fault: Fault, number: int) -> bool:
        """Whether it is on, and about this chip or core."""
        return self._values.get(fault) == number

    def garbled(self, data: bytes) -> bytes:
        """What a receiver at the wrong baud rate makes of these bytes."""
        return self.random.randbytes(self.random.randint(0, len(data)))
