"""Reports to systemd: readiness, status, reload, watchdog. Does nothing without systemd.

Source: sd_notify(3), whose protocol is one datagram of KEY=VALUE lines to the socket in $NOTIFY_SOCKET.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

from miner.printable import printable

_STATUS_LIMIT = 512  # characters; systemctl shows one line


class Notifier:
    """The notification socket. Never raises, never waits: a manager that does not listen must not stop the mining."""

    def __init__(self, environ: Mapping[str, str], clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock_ns = clock_ns
        self.watchdog_s = _watchdog_s(environ)  # seconds between calls of watchdog(); None: not asked for

    def ready(self) -> None:
        """Mining, or back from a reload."""
        self._send("READY=1")

    def reloading(self) -> None:
        """A reload begins; ready() ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={self._clock_ns() // 1000}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={printable(text)[:_STATUS_LIMIT]}")

    def watchdog(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as peer:
                peer.sendto(message.encode(), self._address)
        except OSError:
            return  # the manager restarts, or its queue is full: the next message tells it


def _address(path: str) -> str | None:
    if path.startswith("@"):
        return "\0" + path[1:]  # Linux's abstract namespace
    return path if path.startswith("/") else None


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    """Half of what the manager allows, as sd_watchdog_enabled(3) advises."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    meant_for = environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (microseconds.isascii() and microseconds.isdigit() and int(microseconds[:18])):
        return None
    return int(microseconds[:18]) / 2e6 if meant_for == str(os.getpid()) else None
