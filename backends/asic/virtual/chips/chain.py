"""A chain of chips on one serial line: commands in, replies and nonces out, jobs searched in a thread of its own.

The search is real and paced: the chips do `scale` times the hashes that real ones would at the clock they are set to,
and their difficulty one is easier by as much, so that nonces come as often as from real chips. A job's time is that
of real chips too: when it is over they are silent until the next.

`power(on)` is the board's: without power or in reset nothing is heard and nothing said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from backends.asic.virtual.faults import Fault, Faults
from backends.asic.virtual.line import understand

from .chip import Chip, ChipKind
from .frames import Frame, nonce_reply, reply, take_frame
from .jobs import HeaderJob, Job, MidstateJob, header_job, midstate_job, spread
from .search import give_way

_CHUNK = 1 << 13  # nonces: all values of the core field, which lies in the lowest byte of a header's nonce
_CHUNKS = 2**32 // _CHUNK
_STRIDE = 0x9E37  # odd, so that every chunk has its turn, far from the last one
_ROWS = 4  # versions searched together
_CREDIT_S = 0.2  # of hashing that may be caught up with
_LONGEST_WAIT_S = 0.1
_INPUT = 1024  # bytes of an unfinished frame that are kept


class Search(Protocol):
    """`search.Engine`, or what a test has in its place."""

    def search(self, job: Job, rows: list[int], start: int, count: int, target: int) -> list[tuple[int, int]]: ...


class Chain:
    """Everything but `close` is called with `changed` held; so are `reply` and the clock."""

    def __init__(  # noqa: PLR0917 # all of them always
        self,
        kind: ChipKind,
        count: int,
        faults: Faults,
        changed: threading.Condition,
        clock: Callable[[], float],
        search: Search | None,
        scale: Callable[[], float],
    ) -> None:
        """search: None for chips that never find anything but what was planted."""
        self.kind = kind
        self.chips = [Chip(kind) for _ in range(count)]
        self.reply: Callable[[bytes, float], None] = lambda _data, _baud: None
        self.jobs = 0  # taken so far
        self.hashes = 0.0  # really done so far
        self._faults = faults
        self._changed = changed
        self._clock = clock
        self._search = search
        self._scale = scale
        self._powered = False
        self._closed = False
        self._input = bytearray()
        self._job: Job | None = None
        self._job_began = self._job_until = 0.0
        self._epoch = 0  # rises with every reset
        self._job_chunk = 0
        self._held: list[bytes] = []
        self._stuck: bytes | None = None
        self._silent_at: float | None = None
        self._plants: list[tuple[int, int]] = []
        self._thread: threading.Thread | None = None
        self._reset()

    @property
    def baud(self) -> float:
        return self.chips[0].baud

    @property
    def hps(self) -> float:
        """What real chips would do at the present clock, if they had work."""
        return sum(self._hps(chip) for chip in self._alive())

    @property
    def frequency_hz(self) -> float:
        return max((chip.frequency_hz for chip in self.chips), default=0.0)

    @property
    def busy(self) -> bool:
        """Whether a job is being worked on."""
        return self._job is not None and self._clock() < self._job_until

    def power(self, on: bool) -> None:  # noqa: FBT001 # a level on a pin
        """The reset line and the supply together."""
        if on != self._powered:
            self._powered = on
            self._reset()
            self._changed.notify_all()

    def plant(self, row: int, nonce: int) -> None:
        """Have this nonce found in every job from now on, at once (`nonce` as in the header, little-endian)."""
        self._plants.append((row, nonce))

    def receive(self, data: bytes, baud: float) -> None:
        if not self._powered:
            return
        while data:
            if not understand(baud, self.baud):
                self._input.clear()
                return
            self._input += data
            data = b""
            if (frame := take_frame(self._input, self.kind.job_length)) is not None:
                data = bytes(self._input)  # what follows is heard at whatever rate this frame set
                self._input.clear()
                self._obey(frame)
        del self._input[:-_INPUT]

    def close(self) -> None:
        """End the search."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _alive(self) -> list[Chip]:
        return [
            chip for n, chip in enumerate(self.chips) if self._powered and not self._faults.names(Fault.DEAD_CHIP, n)
        ]

    def _hps(self, chip: Chip) -> float:
        return self.kind.small_cores * chip.frequency_hz if chip.hashing else 0.0

    def _reset(self) -> None:
        for chip in self.chips:
            chip.reset()
        self._input.clear()
        self._epoch += 1
        self._job, self._stuck = None, None
        self._held.clear()

    def _obey(self, frame: Frame) -> None:
        if frame.is_job:
            self._begin(frame)
            return
        alive = self._alive()
        addressed = [chip for chip in alive if frame.to_all or chip.address == frame.address]
        match frame.command:
            case 0:  # set address: to the first that has none
                for chip in alive:
                    if not chip.assigned:
                        chip.address, chip.assigned = frame.address, True
                        break
            case 1:
                for chip in addressed:
                    chip.write(frame.register, frame.value)
            case 2:
                for chip in addressed:
                    self._answer(chip, frame.register)
            case 3:
                for chip in alive:
                    chip.address, chip.assigned = 0, False
        self._changed.notify_all()

    def _answer(self, chip: Chip, register: int) -> None:
        if (value := chip.read(register)) is None:
            return
        filling = bytes(2) if chip.long_replies and self.kind.rolls_versions else b""
        self._say(reply(value.to_bytes(4, "big") + bytes((chip.address, register)) + filling))

    def _begin(self, frame: Frame) -> None:
        job = header_job(frame.body) if self.kind.rolls_versions else midstate_job(frame.body)
        if job is None:
            return
        self.jobs += 1
        held, self._held = self._held, []
        for late in held:
            self._say(late)
        sweeps = [chip.sweep_s(job.rows(1)) for chip in self._alive() if chip.hashing]
        self._job, self._job_chunk = job, 0
        self._job_began = self._clock()
        self._job_until = self._job_began + min(sweeps, default=0.0)
        for row, nonce in self._plants:
            self._found(job, row, nonce)
        if self._search is not None and self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._work, name="virtual-chips", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        give_way()
        search = self._search
        assert search is not None
        scale = self._scale()
        with self._changed:
            credit, pace, since, until = 0.0, self.hps * scale, self._job_began, self._job_until
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._clock()
                credit, since = credit + max(0.0, min(now, until) - since) * pace, now
                pace, until, job = self.hps * scale, self._job_until, self._job
                if job is None or not pace or now >= until:
                    self._changed.wait()
                    continue
                cost, epoch = self._cost(job), self._epoch
                credit = min(credit, max(_CREDIT_S * pace, cost))
                if credit < cost:
                    self._changed.wait(min((cost - credit) / pace, _LONGEST_WAIT_S))
                    continue
                credit -= cost
                rows, start, target = self._rows(job), self._next(), self._target(scale)
            hits = search.search(job, rows, start, _CHUNK, target)
            with self._changed:
                self.hashes += cost
                if epoch == self._epoch:
                    for nonce, row in hits:
                        self._found(job, row, nonce)

    def _cost(self, job: Job) -> float:
        """Hashes of one chunk that these chips do: the core field has room for more cores than some have."""
        return _CHUNK * len(self._rows(job)) * self.kind.cores / 128

    def _rows(self, job: Job) -> list[int]:
        if isinstance(job, MidstateJob):
            return list(range(len(job.states)))
        mask = self.chips[0].version_mask
        versions = 1 << mask.bit_count()
        first = self._job_chunk * _ROWS
        return sorted({spread((first + n) % versions, mask) for n in range(_ROWS)})

    def _next(self) -> int:
        self._job_chunk += 1
        return self._job_chunk * _STRIDE % _CHUNKS * _CHUNK

    def _target(self, scale: float) -> int:
        bits = max((chip.ticket_bits for chip in self._alive()), default=0)
        return min(int(2 ** (224 - bits) / scale), 2**256) - 1

    def _found(self, job: Job, row: int, nonce: int) -> None:
        """A hit, if the chip and the core that it belongs to exist and are alive."""
        wire = nonce.to_bytes(4, "little")
        core, chip = wire[0] >> 1, self._chip_of(int.from_bytes(wire, "big"))
        if core >= self.kind.cores or chip is None:
            return
        frame = self._encoded(job, row, wire, job.hash(row, nonce))
        if self._faults.names(Fault.STUCK_CORE, core):
            self._stuck = frame = self._stuck or frame
        if self._faults.strikes(Fault.LYING):
            lie = bytes((frame[4] ^ 1, frame[5] ^ 0x55))
            frame = nonce_reply(frame[2:4] + lie + frame[6:-1])
        if job is self._job and self._faults.strikes(Fault.LATE):
            self._held.append(frame)
            return
        self._say(frame)
        if self._faults.strikes(Fault.DUPLICATE):
            self._say(frame)

    def _chip_of(self, counter: int) -> int | None:
        """Which of the chain a nonce's bits 24..17 belong to; None: that chip is dead."""
        number = min((counter >> 17 & 0xFF) * len(self.chips) // 256, len(self.chips) - 1)
        return None if self._faults.names(Fault.DEAD_CHIP, number) else number

    def _encoded(self, job: Job, row: int, wire: bytes, value: int) -> bytes:
        bits = 256 - value.bit_length() - 32 - self.chips[0].ticket_bits
        excess = max(0, min(255, bits * 2 if self.kind.half_bits else bits))
        if isinstance(job, HeaderJob):
            header = self._header(job.id, row & (self.kind.subcores - 1))
            return nonce_reply(wire + bytes((excess, header)) + row.to_bytes(2, "big"))
        return nonce_reply(wire + bytes((excess, job.id & 0xFC | row)))

    def _header(self, job_id: int, subcore: int) -> int:
        if self.kind.subcores == 16:
            return (job_id << 1 & 0xF0) | subcore
        return (job_id & 0xF8) | subcore

    def _say(self, frame: bytes) -> None:
        if self._silent():
            return
        if self._faults.strikes(Fault.CRC):
            broken = bytearray(frame)
            broken[self._faults.random.randrange(2, len(frame))] ^= 1 << self._faults.random.randrange(8)
            frame = bytes(broken)
        if self._faults.strikes(Fault.GARBAGE):
            frame = self._faults.random.randbytes(self._faults.random.randint(1, 16)) + frame
        self.reply(frame, self.baud)

    def _silent(self) -> bool:
        after_s = self._faults.value(Fault.SILENCE)
        if after_s is None:
            self._silent_at = None
            return False
        if self._silent_at is None:
            self._silent_at = self._clock() + after_s
        return self._clock() >= self._silent_at
