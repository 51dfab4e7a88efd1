"""GekkoScience Compac F: one BM1397 behind an FT230X, powered by the USB port; no sensors.

CBUS1 of the bridge holds the chip in reset while it is low.
Source: kanoi/cgminer driver-gekko.c (compac_toggle_reset, compac_send_chain_inactive, limit_freq).
"""

from __future__ import annotations

import native
from backends.asic.boards.board import BoardKind, Limits, Readings
from backends.asic.boards.chain import GAP_S, START_TICKET_BITS, ChainBoard, Options, count_chips, name_chips, writes
from backends.asic.boards.script import Baud, Pause, Pins, Script, Send
from backends.asic.chips.chip import BM1397
from backends.asic.chips.frames import Register, chain_inactive, write_register
from backends.asic.chips.jobs import Jobs, MidstateJobs, Midstates
from backends.asic.chips.pll import Dividers
from backends.asic.chips.ticket import Ticket
from backends.asic.usb.bridge import START_BAUD, Bridge

KIND = BoardKind(
    name="compac-f",
    title="GekkoScience Compac F",
    chip=BM1397.name,
    chips=1,
    sensors=frozenset(),
    limits=Limits(
        frequencies_hz=tuple(float(mhz * 10**6) for mhz in range(100, 601, 25)),  # cgminer's least, ESP-Miner's most
        default_hz=200e6,
        throttle_c=None,
        cutoff_c=None,
        resume_c=None,
    ),
    hashes_per_hz=float(BM1397.small_cores),
    proven=False,
)

_PINS, _RUN, _RESET = 0xF, 0x2, 0x0
_FAST_BAUD = 1_500_000  # the chip then runs at 1.5625 Mbaud: near enough
_CHIP_FAST = 0x6131  # in MISC_CONTROL


class CompacF(ChainBoard):
    """midstates: what computes them; compiled at the first start unless it comes with a cache."""

    def __init__(self, bridge: Bridge, options: Options, midstates: Midstates = native.midstates) -> None:
        self._midstates = midstates
        super().__init__(KIND, BM1397, bridge, options)

    def sensors(self) -> Readings:
        return Readings({})

    def _start(self) -> Script[int]:
        self._midstates(bytes(64), (0,))  # compiled now, before the chip waits for its first job
        return start()

    def _clock(self, dividers: Dividers) -> Script[None]:
        divider = write_register(Register.PLL0_DIVIDER, 0x0F0F0F00)
        clock = write_register(Register.PLL0, BM1397.pll.register(dividers))
        for frames in (divider, divider, clock, clock):
            yield Send(frames, GAP_S)

    def _cut(self) -> None:
        self._bridge.gpio(_PINS, _RESET)

    def _new_jobs(self) -> Jobs:
        return MidstateJobs(BM1397, self._midstates)


def start() -> Script[int]:
    """From any state to a chip that has an address and the fast line, but no clock of its own yet."""
    yield Baud(START_BAUD)
    for levels, seconds in ((_RUN, 0.03), (_RESET, 1.0), (_RUN, 0.2)):
        yield Pins(_PINS, levels)
        yield Pause(seconds)
    chips = yield from count_chips(KIND, BM1397, wait_s=1.0)
    for _ in range(3):
        yield Send(chain_inactive(), GAP_S)
    yield Pause(0.1)
    yield from name_chips(chips)
    yield from writes((Register.CLOCK_ORDER_0, 0))
    yield from writes((Register.CLOCK_ORDER_1, 0), pause_s=0.1)
    yield from writes((Register.ORDERED_CLOCK_ENABLE, 1), pause_s=0.05)
    yield from writes((Register.CORE_MAILBOX, 0x8000_8074), pause_s=0.1)
    yield from writes((Register.TICKET_MASK, Ticket(START_TICKET_BITS).register), pause_s=0.02)
    yield from writes((Register.PLL3, 0xC070_0111), (Register.PLL3, 0xC070_0111), pause_s=0.05)
    yield from writes((Register.FAST_UART, 0x0600_000F), pause_s=0.1)
    yield from writes((Register.MISC_CONTROL, _CHIP_FAST), pause_s=0.06)
    yield Baud(_FAST_BAUD)
    return chips
