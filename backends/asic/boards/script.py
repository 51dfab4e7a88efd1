"""What a board's start is written in, and the one place that carries it out.

A script is a generator of steps: bytes to the chips, pins, pauses, answers to wait for. It decides; it touches neither
a bridge nor a clock, so a test can walk through it step by step. The runner does the waiting, and before each step
looks at whether the board was turned off: nothing is powered after `off` began.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from backends.asic.chips.decoder import Decoder, RegisterReply
from backends.asic.usb.bridge import Bridge
from backends.base import BackendError, DeviceFault

_SLICE_S = 0.1  # no read is longer, so that `off` is seen soon


@dataclass(frozen=True, slots=True)
class Send:
    """Frames to the chips, and how long they need with them."""

    frames: bytes
    pause_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing, for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Pins:
    """The bridge's own output pins."""

    mask: int
    levels: int


@dataclass(frozen=True, slots=True)
class Baud:
    """The host's side of the chips' line."""

    baud: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Answered with the registers that chips report, until `enough` of them or `seconds` have passed."""

    seconds: float
    enough: int


@dataclass(frozen=True, slots=True)
class Act:
    """Something on the board beside its chips; answered with what it gives. May take a second."""

    do: Callable[[], Any]


Step = Send | Pause | Pins | Baud | Listen | Act
T = TypeVar("T")
Script = Generator[Step, Any, T]


def _wait(event: threading.Event, seconds: float) -> None:
    event.wait(seconds)


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, for tests to replace. `wait` returns early when the event is set."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[threading.Event, float], None] = _wait


@dataclass(slots=True)
class Switch:
    """Whether a board is on. `gate` is held by whoever is powering something."""

    clock: Clock
    is_off: threading.Event = field(default_factory=threading.Event)
    gate: threading.Lock = field(default_factory=threading.Lock)

    def check(self) -> None:
        """Raises DeviceFault when it was turned off."""
        if self.is_off.is_set():
            raise DeviceFault("the board was turned off meanwhile")

    def pause(self, seconds: float) -> None:
        """Raises DeviceFault when it is turned off meanwhile."""
        if seconds > 0:
            self.clock.wait(self.is_off, seconds)
        self.check()


def run(script: Script[T], bridge: Bridge, decoder: Decoder, switch: Switch, cut: Callable[[], None]) -> T:
    """Carry a script out; answers what it returns. Raises what its steps do, DeviceFault when turned off meanwhile.

    cut: takes the power away again, for a step that was under way when `off` came.
    """
    answer: Any = None
    try:
        while True:
            step = script.send(answer)
            switch.check()
            answer = _perform(step, bridge, decoder, switch, cut)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        script.close()


def _perform(step: Step, bridge: Bridge, decoder: Decoder, switch: Switch, cut: Callable[[], None]) -> Any:
    match step:
        case Send(frames, pause_s):
            bridge.write(frames)
            switch.pause(pause_s)
        case Pause(seconds):
            switch.pause(seconds)
        case Baud(baud):
            bridge.set_baud(baud)
        case Listen(seconds, enough):
            return _listen(seconds, enough, bridge, decoder, switch)
        case Pins(mask, levels):
            _powering(lambda: bridge.gpio(mask, levels), switch, cut)
        case Act(do):
            return _powering(do, switch, cut)
    return None


def _powering(do: Callable[[], Any], switch: Switch, cut: Callable[[], None]) -> Any:
    with switch.gate:
        switch.check()
        answer = do()
        if switch.is_off.is_set():  # this may have come after the cut
            cut()
    switch.check()
    return answer


def _listen(seconds: float, enough: int, bridge: Bridge, decoder: Decoder, switch: Switch) -> tuple[RegisterReply, ...]:
    heard: list[RegisterReply] = []
    until = switch.clock.now() + seconds
    while len(heard) < enough and (left := until - switch.clock.now()) > 0:
        items = decoder.feed(bridge.read(min(left, _SLICE_S)))
        heard += [item for item in items if isinstance(item, RegisterReply)]
        switch.check()
    return tuple(heard)


def attempt_all(*actions: Callable[[], Any]) -> None:
    """Do every one, whatever becomes of the others; then raise the first BackendError of theirs."""
    errors: list[BackendError] = []
    for action in actions:
        try:
            action()
        except BackendError as error:
            errors.append(error)
    if errors:
        raise errors[0]
