"""The live screen: a thread that looks at the miner once a second and repaints the lines that changed.

It has a thread of its own because a terminal may stop taking output for as long as it likes (Ctrl-S, a dead ssh
connection): mining must not notice. While it is up, what others print goes to the log's tail and shows below the table.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import zip_longest
from types import TracebackType
from typing import Self, TextIO, cast

import structlog
from rich.console import Console
from rich.control import Control
from rich.segment import ControlType, Segment
from rich.text import Text

from miner.telemetry.snapshot import Snapshot

from .frame import Row, compose
from .tail import Tail

PERIOD_S = 1.0
CLOSE_S = 2.0  # to wait for a terminal that takes no output
WIDTH_MIN = 20  # narrower terminals show the left of it
_UNBOUNDED = 1000  # rows, of the last picture, which scrolls
_ERASE = Control((ControlType.ERASE_IN_LINE, 2)).segment  # before the text: after a full line it would eat its end

log = structlog.get_logger(__name__)


def possible(console: Console) -> bool:
    """Whether the console is a terminal that can move its cursor."""
    return console.is_terminal and not console.is_dumb_terminal


class Painter:
    """Puts rows on the console's alternate screen and remembers them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._size = (0, 0)
        self._shown: list[Row] = []

    def paint(self, rows: Sequence[Row], size: tuple[int, int]) -> int:
        """Write the rows that differ from what is shown, all of them after a resize; how many those were."""
        with self._console as console:  # one write for the whole picture
            if self._size != size:
                self._size, self._shown = size, []
                console.control(Control.clear(), Control.home())
            before, after = self._shown, list(rows[: size[1]])
            blank = Row("")
            changed = [
                (y, new) for y, (old, new) in enumerate(zip_longest(before, after, fillvalue=blank)) if old != new
            ]
            for y, row in changed:
                console.update_screen_lines([[_ERASE, *self._segments(row)]], y=y)
        self._shown = after
        return len(changed)

    def _segments(self, row: Row) -> list[Segment]:
        encoding = self._console.encoding
        return [Segment(row.text.encode(encoding, "replace").decode(encoding), self._console.get_style(row.style))]


class Screen:
    """Shows what `snapshot` answers from __enter__ to close(), then leaves the last picture on the normal screen."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        tail: Tail,
        console: Console | None = None,
        period_s: float = PERIOD_S,
    ) -> None:
        self._snapshot = snapshot
        self._tail = tail
        self._console = console or Console(file=sys.stdout)
        self._period_s = period_s
        self._stopping = threading.Event()
        self._terminal = contextlib.ExitStack()  # what gives the terminal back
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as terminal:
            terminal.enter_context(self._tail.held())
            terminal.enter_context(contextlib.redirect_stdout(cast(TextIO, self._tail)))
            terminal.enter_context(contextlib.redirect_stderr(cast(TextIO, self._tail)))
            terminal.enter_context(self._console.screen(hide_cursor=True))
            self._terminal = terminal.pop_all()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the terminal back. Idempotent, from any thread; waits a moment at most for a stopped terminal."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            with self._terminal:
                self._show()
            self._leave_last_picture()
        except OSError as error:
            log.warning("terminal_lost", reason=str(error))
        except Exception:
            log.exception("screen_failed", consequence="mining goes on without it")

    def _show(self) -> None:
        painter = Painter(self._console)
        while not self._stopping.is_set():
            width, height = self._console.size
            painter.paint(self._compose(width, height), (width, height))
            self._stopping.wait(self._period_s)

    def _leave_last_picture(self) -> None:
        for row in self._compose(self._console.width, _UNBOUNDED):
            self._console.print(Text(row.text, row.style), no_wrap=True, crop=True)

    def _compose(self, width: int, height: int) -> list[Row]:
        return compose(self._snapshot(), max(width, WIDTH_MIN), height, self._tail.lines())
