"""The miner's end of a worker process: sends orders, receives reports, describes how the worker ended.

A thread reads the worker's reports and wakes the device. If the device does not take the reports, the thread stops
reading, the pipe fills, and the worker waits.
"""

from __future__ import annotations

import os
import queue
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from backends.child import KILL_S, close_pipes, ended, start
from backends.opencl.protocol import Lines, Order, ProtocolError, Report, encode, report

COMMAND = (sys.executable, "-m", "backends.opencl.worker.worker")
_PIECE = 1 << 16
_UNREAD_MAX = 256  # reports
_COMPLAINTS_MAX = 4096  # bytes of standard error that are kept


class WorkerProcess:
    """Start it in the thread that uses it: it ends with that thread. `woken`: called in another, at each report."""

    def __init__(
        self,
        woken: Callable[[], None],
        *,
        command: Sequence[str] = COMMAND,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Raises OSError."""
        self._woken = woken
        self._reports: queue.Queue[Report] = queue.Queue(_UNREAD_MAX)
        self._complaints = b""
        self._fault: str | None = None  # a message that breaks the protocol
        self._closing = False
        self._process = start(command, environ=environ)
        assert self._process.stdin is not None  # it was asked for
        os.set_blocking(self._process.stdin.fileno(), False)
        self._reader = threading.Thread(target=self._read, name=f"worker {self._process.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, order: Order) -> None:
        """Send an order without waiting. If the worker is gone nothing happens; `lost` returns how it ended."""
        assert self._process.stdin is not None  # it was asked for
        line = encode(order)
        with suppress(OSError, ValueError):
            if self._process.stdin.write(line) != len(line):  # a pipe holds a hundred of them
                self._fault = "its worker takes no orders"
                self._process.kill()

    def received(self) -> list[Report]:
        """Reports since the last call."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._reports.get_nowait())
        return found

    def lost(self) -> str | None:
        """How the worker ended or what is wrong with it; None while it is well or reports are left."""
        if self._reader.is_alive() or not self._reports.empty():
            return None
        if self._fault:
            return self._fault
        try:
            status = self._process.wait(KILL_S)
        except subprocess.TimeoutExpired:
            return "its worker has closed its pipes and does not end"
        return f"its worker {ended(status, self._complaints)}"

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for the worker to end by itself, then kill it. Return whether it is gone."""
        self._closing = True
        assert self._process.stdin is not None  # it was asked for
        with suppress(OSError):
            self._process.stdin.close()
        return self._gone(timeout) or self.kill()

    def kill(self) -> bool:
        """Return whether the worker is gone. A driver that hangs in the kernel holds even a killed process."""
        self._closing = True
        self._process.kill()
        return self._gone(KILL_S)

    def _gone(self, timeout: float) -> bool:
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(KILL_S)
        close_pipes(self._process)
        return True

    def _read(self) -> None:
        """The body of the reading thread, until the pipe ends or a message breaks the protocol."""
        assert self._process.stdout is not None and self._process.stderr is not None  # they were asked for
        out, complaints = self._process.stdout.fileno(), self._process.stderr.fileno()
        lines, open_ = Lines(), [out, complaints]
        try:
            while out in open_:
                for pipe in select.select(open_, [], [])[0]:
                    piece = os.read(pipe, _PIECE)
                    if not piece:
                        open_.remove(pipe)
                    elif pipe == complaints:
                        self._complaints = (self._complaints + piece)[-_COMPLAINTS_MAX:]
                    else:
                        self._take([report(line) for line in lines.feed(piece)])
        except ProtocolError as error:
            self._fault = f"its worker talks nonsense: {error}"
        except (OSError, ValueError):  # closed under us
            pass
        if not self._closing:
            self._woken()

    def _take(self, reports: list[Report]) -> None:
        for each in reports:
            while not self._closing:
                with suppress(queue.Full):
                    self._reports.put(each, timeout=0.25)
                    break
        if reports and not self._closing:
            self._woken()
