"""When the live screen is drawn: while this process is in front on its terminal, and not while another job is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self


class Drawn(Protocol):
    """A screen."""

    def __enter__(self) -> Self: ...

    def close(self) -> None: ...


class Display:
    """Opens and closes screens on one thread. `in_front`: whether this process may draw on the terminal."""

    def __init__(self, screen: Callable[[], Drawn], in_front: Callable[[], bool]) -> None:
        self._screen = screen
        self._in_front = in_front
        self._drawn: Drawn | None = None

    def look(self) -> None:
        """Draw the screen, or take it away, as the terminal is now. To be called now and then."""
        if self._in_front():
            self._drawn = self._drawn or self._screen().__enter__()
        else:
            self.close()

    def close(self) -> None:
        """Give the terminal back, until the next look. Idempotent."""
        drawn, self._drawn = self._drawn, None
        if drawn:
            drawn.close()
