"""Many transfers at once, or one act alone: libusb must not lose a device's handle while a transfer uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from backends.asic.errors import BridgeStalled
from backends.base import Misuse

WAIT_S = 1.0  # for an act alone to end, before a transfer gives up; and the other way round, on top of a slice


class Gate:
    """Thread-safe. Once shut for good, nothing passes any more."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._inside = 0
        self._alone = False
        self._closed = False
        self._among = _Among(self.enter, self.leave)

    def among_others(self) -> AbstractContextManager[None]:
        """Raises BridgeStalled when an act alone takes too long, Misuse once it is closed."""
        return self._among  # every transfer passes here: nothing is made for it

    def enter(self) -> None:
        """What `among_others` begins with."""
        with self._lock:
            if self._alone and not self._changed.wait_for(lambda: not self._alone or self._closed, WAIT_S):
                raise BridgeStalled(f"{self._what} is being reset, and that takes too long")
            if self._closed:
                raise Misuse(f"{self._what} is closed")
            self._inside += 1

    def leave(self) -> None:
        """What `among_others` ends with."""
        with self._lock:
            self._inside -= 1
            if self._alone or self._closed:  # else nobody waits for it
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Raises BridgeStalled when the transfers under way do not end, Misuse once it is closed."""
        with self._changed:
            if not self._changed.wait_for(lambda: not self._alone or self._closed, WAIT_S):
                raise BridgeStalled(f"{self._what} is being reset already")
            if self._closed:
                raise Misuse(f"{self._what} is closed")
            self._alone = True
            emptied = self._changed.wait_for(lambda: not self._inside, 2 * WAIT_S)
        try:
            if not emptied:
                raise BridgeStalled(f"{self._what} has a transfer that does not end")
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def close(self) -> bool:
        """Let nothing in any more; whether everything that was inside has left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._inside and not self._alone, 2 * WAIT_S)


class _Among(AbstractContextManager[None]):
    """Holds nothing of its own, so that any number of threads may be in it."""

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._enter, self._leave = enter, leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, *_: object) -> None:
        self._leave()
