"""A board in memory that finds as many results as a test wants, and a device around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backends.asic.boards.board import Board, BoardKind, Garbage, Nonce, Readings, Sensor
from backends.asic.boards.catalogue import KINDS
from backends.asic.device import AsicDevice, Equipment
from backends.asic.driver import Terms
from backends.asic.health import Silence
from backends.asic.latch import Latches
from backends.asic.safety import Patience
from backends.base import Capability, DeviceInfo, Hit, Kind, Misuse, State, Work

GAMMA = KINDS["bitaxe-gamma"]
HEALTHY = {
    Sensor.CHIP_C: 50.0,
    Sensor.REGULATOR_C: 60.0,
    Sensor.BOARD_C: 35.0,
    Sensor.INPUT_V: 5.0,
    Sensor.CORE_V: 1.15,
    Sensor.FAN_RPM: 4000.0,
    Sensor.FAN_TOLD: 1.0,
    Sensor.POWER_W: 18.0,
}
SCALE = 2.0**-28  # a result of difficulty one takes 16 hashes
QUICK = Patience(
    stale_s=0.4, hung_s=0.4, step_s=0.0, calm_s=0.05, rest_s=0.1, blind_rest_s=0.1, trips=3, window_s=3600.0
)
LOOK_S = 0.02


@dataclass
class FakeBoard:
    """Implements `Board`. `pause_s`: between two results; None: none. `lie`: whether they hash to nothing."""

    kind: BoardKind = GAMMA
    pause_s: float | None = 0.002
    lie: bool = False
    ticks_s: float = 0.05  # of work that each job gives
    pieces: int = 1 << 30
    values: dict[Sensor, float] = field(default_factory=lambda: dict(HEALTHY))
    problem: str | None = None
    breaks: Exception | None = None  # raised by whatever is asked of it, but `off`
    powered: bool = False
    starts: int = 0
    closed: int = 0
    clocks: list[float] = field(default_factory=list)
    jobs: list[Work] = field(default_factory=list)
    hang: dict[str, threading.Event] = field(default_factory=dict)  # calls that wait for this
    garbage: list[Garbage] = field(default_factory=list)
    stays_on: list[Exception] = field(default_factory=list)  # what the next attempts to turn it off end with
    target: int = 0
    held: int = 0  # calls that have waited
    _nonce: int = 0

    def bring_up(self) -> int:
        self._enter("bring_up")
        self.powered, self.starts = True, self.starts + 1
        return self.kind.chips

    def set_frequency(self, hertz: float) -> float:
        self._enter("set_frequency", up=True)
        self.clocks.append(hertz)
        return hertz

    def set_ticket(self, target: int) -> int:
        self._enter("set_ticket", up=True)
        self.target = (1 << target.bit_length() - 1) - 1 if target & (target + 1) else target
        self.target = max(self.target, target)
        return self.target

    def send(self, work: Work) -> float | None:
        self._enter("send", up=True)
        if (
            self.jobs
            and self.jobs[-1].id == work.id
            and len([job for job in self.jobs if job.id == work.id]) >= self.pieces
        ):
            return None
        self.jobs.append(work)
        return self.ticks_s

    def receive(self, timeout_s: float) -> list[Nonce | Garbage]:
        self._enter("receive", up=True)
        if self.garbage:
            return [self.garbage.pop()]
        if self.pause_s is None or not self.jobs:
            time.sleep(min(timeout_s, 0.01))
            return []
        time.sleep(self.pause_s)
        work = self.jobs[-1]
        while True:
            self._nonce += 1
            good = Hit(work, self._nonce, work.version, work.ntime).hash() <= self.target
            if good is not self.lie:
                return [Nonce(work, self._nonce, work.version, work.ntime, 0, self._nonce % 128)]

    def sensors(self) -> Readings:
        self._enter("sensors")
        return Readings(dict(self.values), self.problem)

    def off(self) -> None:
        if self.stays_on:
            raise self.stays_on.pop()
        self.powered = False

    def close(self) -> None:
        self.closed += 1

    def _enter(self, call: str, *, up: bool = False) -> None:
        if call in self.hang:
            self.held += 1
            self.hang[call].wait(20.0)
        if self.breaks is not None:
            raise self.breaks
        if up and not self.powered:
            raise Misuse("it is off")


def device_of(
    board: FakeBoard,
    latches: Latches | None = None,
    patience: Patience = QUICK,
    silence: Silence | None = None,
    log: Callable[..., None] = lambda *_a, **_k: None,
    *,
    virtual: bool = False,
    prepare: Callable[[], object] = lambda: None,
    suspended_s: Callable[[], float] = lambda: 0.0,
) -> AsicDevice:
    info = DeviceInfo(
        "asic:F1", "asic", Kind.ASIC, board.kind.title, virtual, serial="F1",
        capabilities=frozenset({Capability.FREQUENCY, Capability.ROLLS_VERSION}),
    )  # fmt: skip

    def opened() -> tuple[Board, float]:
        if board.breaks is not None:
            raise board.breaks
        return board, SCALE

    equipment = Equipment(
        kind=board.kind,
        limits=board.kind.limits,
        key="F1",
        open_board=opened,
        latches=latches or Latches(None),
        terms=Terms(silence=silence or Silence(), ramp_s=0.0),
        patience=patience,
        look_s=LOOK_S,
        prepare=prepare,
        suspended_s=suspended_s,
    )
    return AsicDevice(info, equipment, 525e6, log)


def until(happened: Callable[[], object], patience_s: float = 10.0) -> None:
    """Wait for something that threads bring about."""
    give_up = time.monotonic() + patience_s
    while not happened():
        assert time.monotonic() < give_up, "it did not happen"
        time.sleep(0.002)


def in_state(device: AsicDevice, state: State) -> Callable[[], bool]:
    return lambda: device.telemetry().state is state
