"""A small process that turns devices off when the miner dies without doing so: killed, out of memory, crashed.

    miner --pipe--> guard:   "+asic:SERIAL" it is on, "-asic:SERIAL" it is off;  closed: the miner has ended

Whatever ended it, the kernel closes the pipe; what is on then is turned off by `miner off`, as an operator would. The
locks that the miner held on its devices are free by then, and `miner off` takes them: a second miner waits or is told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

_ON, _OFF = "+", "-"
_DEVICES_MAX = 1024


class Guard:
    """The miner's end. `command`: what guards, for tests."""

    def __init__(self, flags: Sequence[str], command: Sequence[str] | None = None) -> None:
        """`flags`: those of the miner that `miner off` needs. The environment and the working folder it inherits."""
        words = command or [sys.executable, "-m", "miner.guard", *flags]
        # In a session of its own: what ends the miner's terminal or process group must not end its guard.
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603

    def on(self, device: str) -> None:
        self._tell(_ON + device)

    def off(self, device: str) -> None:
        self._tell(_OFF + device)

    def close(self) -> None:
        """The end of the miner. What is on still will be turned off; that is not waited for."""
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended before us, with words of ours unread
            self._process.stdin.close()
        self._process.returncode = 0  # nobody will ask

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.replace("\n", " ").encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # somebody ended it: systemd's ExecStopPost still does the same
            return


def left_on(lines: Iterable[bytes]) -> list[str]:
    """Which devices were on when the lines ended."""
    on: dict[str, None] = {}
    for raw in lines:
        line = raw.decode(errors="replace").rstrip("\n")
        if line.startswith(_ON) and len(on) < _DEVICES_MAX:
            on[line[1:]] = None
        elif line.startswith(_OFF):
            on.pop(line[1:], None)
    return list(on)


def main(arguments: Sequence[str], lines: Iterable[bytes], execute: Callable[[list[str]], None]) -> None:
    """Wait for the end, then become `miner off` for what is on."""
    if devices := left_on(lines):
        wanted = [word for device in devices for word in ("--device", device)]
        execute([sys.executable, "-m", "miner.cli", "off", *arguments, *wanted])


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # it ends with its miner, and not before
    main(sys.argv[1:], sys.stdin.buffer, lambda words: os.execv(words[0], words))  # noqa: S606
