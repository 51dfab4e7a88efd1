"""Threads that block on behalf of the event loop: one for each connection, each with a queue of its own.

They are daemons on purpose: a longpoll may sleep for a minute and a half, and Ctrl-C does not wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs one blocking call after another, in order, and brings each outcome back to the loop."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T], done: Callable[[T | Exception], None]) -> None:
        """Run `work` in the thread, then `done` with its result or exception on the loop."""

        def run() -> None:
            outcome: T | Exception
            try:
                outcome = work()
            except Exception as error:  # noqa: BLE001  handed over whole, and judged there
                outcome = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(done, outcome)

        self._calls.put(run)

    def close(self, last: Callable[[], None] = lambda: None) -> None:
        """Let the thread end after what it has to do, and `last`; does not wait."""
        self._calls.put(last)
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
