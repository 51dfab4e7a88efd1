"""What all boards have in common: a chain of chips behind one bridge, its clock, its ticket and its jobs.

A board adds how it is started (`_start`, a script), how its power is cut (`_cut`) and what its sensors say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from backends.asic.boards.board import BoardKind, Garbage, Nonce, Readings
from backends.asic.boards.script import Clock, Listen, Pause, Script, Send, Switch, T, run
from backends.asic.chips.chip import Chip
from backends.asic.chips.decoder import Broken, Decoder, Item, Noise, NonceReply, RegisterReply
from backends.asic.chips.frames import ADDRESSES, Register, read_register, set_address, write_register
from backends.asic.chips.jobs import Jobs, Refusal
from backends.asic.chips.pll import Dividers
from backends.asic.chips.ticket import UNIT, Ticket
from backends.asic.usb.bridge import Bridge
from backends.base import BackendError, DeviceFault, Misuse, SettingRefused, Work

RAMP_STEP_HZ = 625 * 10**4
RAMP_STEP_S = 0.1
START_HZ = 50 * 10**6  # ESP-Miner starts and ends its ramps here
START_TICKET_BITS = 8  # difficulty 256, until it is told a target
GAP_S = 0.01  # between register writes

# Of BM1362 and BM1370 alike.
IO_DRIVE = 0x0001_1111
_CORES_ON = 0x8000_82AA  # in CORE_MAILBOX: every core searches

_EARLY = 0.05, 0.002  # of a piece, and seconds: a host that is a little late must not leave the chips without work
_GATE_S = 1.0
_ASKED = 3


@dataclass(frozen=True, slots=True)
class Options:
    """What a board is opened with. `unit`: the target of its chips' difficulty one; emulated ones declare another."""

    unit: int = UNIT
    clock: Clock = field(default_factory=Clock)


class ChainBoard(ABC):
    """A `Board`."""

    def __init__(self, kind: BoardKind, chip: Chip, bridge: Bridge, options: Options) -> None:
        self._kind, self._chip, self._bridge, self._options = kind, chip, bridge, options
        self._decoder = Decoder(chip.reply_length)
        self._switch = Switch(options.clock)
        self._up = False
        self._chips = 0
        self._jobs = self._new_jobs()
        self._work_id: int | None = None
        self._ticket = Ticket(START_TICKET_BITS, options.unit)
        self._ramp_hz = self._hertz = 0.0
        self._settles_at = 0.0

    @property
    def kind(self) -> BoardKind:
        return self._kind

    def bring_up(self) -> int:
        self._switch.is_off.clear()
        self._up, self._jobs, self._work_id = False, self._new_jobs(), None
        self._ticket = Ticket(START_TICKET_BITS, self._options.unit)
        self._decoder.clear()
        try:
            self._chips = self._run(self._start())
            self._set_clock(START_HZ)
        except BackendError:
            with suppress(BackendError):
                self.off()
            raise
        self._up = True
        self._switch.check()
        return self._chips

    def set_frequency(self, hertz: float) -> float:
        self._require_up()
        if not 0 < hertz <= self._kind.limits.frequencies_hz[-1]:
            raise SettingRefused(f"{self._kind.title}: no clock of {hertz / 1e6:g} MHz")
        self._chip.pll.solve(hertz)
        step = min(max(hertz - self._ramp_hz, -RAMP_STEP_HZ), RAMP_STEP_HZ)
        if step:
            self._switch.pause(self._settles_at - self._options.clock.now())
            self._set_clock(self._ramp_hz + step)
        return self._hertz

    def set_ticket(self, target: int) -> int:
        self._require_up()
        ticket = Ticket.for_target(target, self._options.unit)
        if ticket != self._ticket:
            self._bridge.write(write_register(Register.TICKET_MASK, ticket.register))
            self._ticket = ticket
        return ticket.target

    def send(self, work: Work) -> float | None:
        self._require_up()
        if work.id != self._work_id:
            self._jobs.begin(work)
            self._work_id = work.id
        job = self._jobs.next()
        if job is None:
            return None
        piece, frames = job
        self._bridge.write(frames)
        seconds = self._jobs.seconds(piece, self._hertz, self._chips)
        share, fixed = _EARLY
        return max(seconds * (1 - share) - fixed, seconds / 2)

    def receive(self, timeout_s: float) -> list[Nonce | Garbage]:
        self._require_up()
        judged = map(self._judge, self._decoder.feed(self._bridge.read(timeout_s)))
        return [result for result in judged if result is not None]

    @abstractmethod
    def sensors(self) -> Readings: ...

    def off(self) -> None:
        self._switch.is_off.set()
        self._up = False
        try:
            self._cut()
        finally:  # whoever is powering something right now cuts it again: until then this is not over
            if self._switch.gate.acquire(timeout=_GATE_S):
                self._switch.gate.release()

    def close(self) -> None:
        self._bridge.close()

    @abstractmethod
    def _start(self) -> Script[int]:
        """Power, reset, count and address the chips, and everything up to their clock; answers their number."""

    @abstractmethod
    def _cut(self) -> None:
        """Reset the chips and take their power, from any state. Any thread. Raises BackendError after all was tried."""

    @abstractmethod
    def _new_jobs(self) -> Jobs: ...

    def _clock(self, dividers: Dividers) -> Script[None]:
        """Set the chips' clock."""
        register = self._chip.pll.register(dividers)
        ticks = self._chip.sweep_ticks(float(dividers.hertz), self._chips)
        yield Send(write_register(Register.PLL0, register) + write_register(Register.HASH_COUNTING, ticks))

    def _set_clock(self, hertz: float) -> None:
        dividers = self._chip.pll.solve(hertz)
        self._run(self._clock(dividers))
        self._ramp_hz, self._hertz = hertz, float(dividers.hertz)
        self._settles_at = self._options.clock.now() + RAMP_STEP_S

    def _run(self, script: Script[T]) -> T:
        return run(script, self._bridge, self._decoder, self._switch, self._cut)

    def _require_up(self) -> None:
        if not self._up:
            raise Misuse(f"{self._kind.title} is off")

    def _judge(self, item: Item) -> Nonce | Garbage | None:
        match item:
            case Broken():
                return Garbage("crc")
            case Noise(size):
                return Garbage("noise", size)
            case RegisterReply():
                return None  # a late answer of the start
            case NonceReply():
                return self._result(item)

    def _result(self, reply: NonceReply) -> Nonce | Garbage:
        result = self._jobs.match(reply)
        if isinstance(result, Refusal):
            return Garbage(result.value)
        piece = result.piece
        return Nonce(piece.work, result.nonce, result.version, piece.ntime, self._position(result.address), result.core)

    def _position(self, address: int | None) -> int | None:
        if self._chips == 1:
            return 0
        return None if address is None else min(address // (ADDRESSES // self._chips), self._chips - 1)


def count_chips(kind: BoardKind, chip: Chip, wait_s: float) -> Script[int]:
    """Ask who is there, again where nobody was heard: one reply may be damaged.

    Raises DeviceFault when nobody answers, or somebody else, or more than there should be.
    """
    who: list[int] = []
    for _ in range(_ASKED):
        yield Send(read_register(Register.CHIP_ID))
        heard = yield Listen(wait_s, kind.chips)
        who = [reply.value >> 16 for reply in heard if reply.register == Register.CHIP_ID]
        if who:
            break
    strangers = [identity for identity in who if identity != chip.identity]
    if strangers:
        raise DeviceFault(f"{kind.title}: chip {strangers[0]:04x} answers where a {chip.name} should be")
    if not who:
        raise DeviceFault(f"{kind.title}: no chip answers; is it powered?")
    if len(who) > kind.chips:
        raise DeviceFault(f"{kind.title}: {len(who)} chips answer of {kind.chips}")
    return len(who)


def addresses(chips: int) -> tuple[int, ...]:
    """One for each chip, nearest first, spread over all there are."""
    return tuple(position * (ADDRESSES // chips) for position in range(chips))


def name_chips(chips: int) -> Script[None]:
    """Give each chip its address; they were made inactive before."""
    for address in addresses(chips):
        yield Send(set_address(address), GAP_S)


def wake_chips(chips: int, soft_reset: int, misc: int, core_clock: Iterable[tuple[int, int]]) -> Script[None]:
    """Each chip by itself: out of its soft reset, clocked, and every core searching. As BM1362 and BM1370 want it."""
    reset = (Register.SOFT_RESET, soft_reset), (Register.MISC_CONTROL, misc)
    for address in addresses(chips):
        yield from writes(*reset, *core_clock, (Register.CORE_MAILBOX, _CORES_ON), address=address)


def writes(*registers: tuple[int, int], address: int | None = None, pause_s: float = GAP_S) -> Script[None]:
    """Registers in this order, a pause after each."""
    for register, value in registers:
        yield Send(write_register(register, value, address))
        yield Pause(pause_s)
