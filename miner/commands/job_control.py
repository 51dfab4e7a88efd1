"""Ctrl-Z: the devices come to rest, the process stops, and once it is continued they mine again.

    SIGTSTP --> hold all devices --> all are off: give the terminal back --> the process stops
                             `-----> one is not: say which, release them, go on
    SIGCONT --> take the terminal again --> release all devices

A process that is stopped at once would leave its boards powered, with nobody to read their sensors. Whoever guards the
boards' power hears from each keeper that its board is off, and that it is on again.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Protocol

import structlog

log = structlog.get_logger(__name__)

HOLD = "stopped"  # the name of its hold
OFF_S = 10.0  # for the devices to come to rest


class Devices(Protocol):
    """The engine."""

    @property
    def finishing(self) -> bool: ...

    def hold(self, name: str, text: str) -> None: ...

    def release(self, name: str) -> None: ...

    async def rest(self, timeout: float) -> list[str]: ...


class Shown(Protocol):
    """The live screen."""

    def close(self) -> None: ...

    def look(self) -> None: ...


def stop_process() -> None:
    """Stop this process as Ctrl-Z does by default, so that its shell sees it; returns once it is continued.

    The kernel stops no process of an orphaned group, since no shell could continue it: this then returns at once.
    """
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)


class JobControl:
    """`stop`: stops the process, for tests."""

    def __init__(
        self,
        devices: Devices,
        screen: Shown,
        *,
        stop: Callable[[], None] = stop_process,
        off_s: float = OFF_S,
    ) -> None:
        self._devices = devices
        self._screen = screen
        self._stop = stop
        self._off_s = off_s
        self._under_way = False
        self._called_off = False

    def go_on(self) -> None:
        """SIGCONT: a stop that is being prepared is called off."""
        self._called_off = True

    async def suspend(self) -> None:
        """SIGTSTP: stop the process, unless a device cannot be put off. Returns once it goes on."""
        if self._under_way:
            return
        self._under_way, self._called_off = True, False
        self._devices.hold(HOLD, "stopped from the terminal (Ctrl-Z)")
        try:
            on = await self._devices.rest(self._off_s)
            if on:
                text = "these devices do not go off, and nobody would watch them: the miner goes on"
                log.error("not_stopped", devices=on, text=text)
            elif not self._called_off and not self._devices.finishing:
                self._stop_here()
        finally:
            self._devices.release(HOLD)
            self._under_way = False

    def _stop_here(self) -> None:
        self._screen.close()
        log.info("stopped", hint="fg, or kill -CONT, goes on")
        began = time.monotonic()
        self._stop()
        self._screen.look()
        log.info("continued", stopped_s=round(time.monotonic() - began, 1))
