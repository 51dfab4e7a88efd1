"""The terminal that this process was started from: whether it is still there, and whether the process is in front.

A closed terminal or a dropped ssh connection takes the controlling terminal away before SIGHUP comes, so SIGHUP alone
and SIGHUP with a lost terminal can be told apart. Source: tty_io.c of Linux, __tty_hangup.
"""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO

_STREAMS = (0, 1, 2)


def controlled() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


class Terminal:
    """The controlling terminal at the start, if there was one."""

    def __init__(self, controlled: Callable[[], bool] = controlled) -> None:
        self._controlled = controlled
        self._had = controlled()

    @property
    def lost(self) -> bool:
        """Whether there was one, and is no more."""
        return self._had and not self._controlled()


def in_front(stream: IO[str]) -> bool:
    """Whether this process may draw on the terminal behind `stream`: its job is not in the background there."""
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # no terminal, or one that controls other processes: no jobs are kept apart there
        return True


def let_go(streams: Iterable[int] = _STREAMS) -> None:
    """Lead the streams of a lost terminal to nowhere, so that no write fails or raises from here on."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for stream in streams:
        try:
            termios.tcgetattr(stream)
        except termios.error as error:
            if error.args[0] == errno.EIO:  # ENOTTY: a file or a pipe, which is still there
                os.dup2(nowhere, stream)
        except OSError:
            continue
    with suppress(OSError):
        os.close(nowhere)
