"""The contract on a USB miner: a Bitaxe Gamma, emulated down to its control transfers, whose chips really search.

The waits of its start and its ramp are shortened; what its chips do takes the time that it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backends.asic import AsicBackend, AsicOptions
from backends.asic.boards.script import Clock
from backends.asic.driver import Terms
from backends.asic.virtual import VirtualBus
from backends.asic.virtual.chips.search import Engine
from backends.base import Device, Host, Work
from backends.testing import DeviceContract

_SCALE = 2.0**-20  # a hit of difficulty one has 12 zero bits
_HASTE = 20


class TestAsic(DeviceContract):
    bits = 12
    enough = 512 << 12
    patience_s = 60.0  # its chips search on whatever the machine has left
    replace_s = 0.5  # a chip's numbers for jobs begin anew after 16; answers, late on a busy machine, must be younger

    def claimed(self, work: Work, hashes: int) -> list[tuple[int, range]] | None:
        return None

    @pytest.fixture
    def make_device(self, engine: Engine) -> Iterator[Callable[[], Device]]:
        bus = VirtualBus(["bitaxe-gamma"], scale=_SCALE, search=engine)
        hasty = Clock(wait=lambda event, seconds: event.wait(seconds / _HASTE) and None)
        backend = AsicBackend(AsicOptions(), Host(), buses=(bus,), clock=hasty, terms=Terms(ramp_s=0.0))
        try:
            yield lambda: backend.open(backend.probe()[0])
        finally:
            bus.close()
