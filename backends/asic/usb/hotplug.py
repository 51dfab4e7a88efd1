"""Noticing that something was plugged in, pulled out, or became openable.

The kernel's uevents are only the bell: what counts is whether a scan answers otherwise than before. Where no bell can
be had (a container, a forbidden netlink), or it is silent (another network namespace), looking now and then does it.
Source: Linux lib/kobject_uevent.c; systemd's udevd sends to the second group once its rules have been applied.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from collections.abc import Callable

BELL_POLL_S = 5.0  # between looks, where the kernel rings
POLL_S = 1.0  # where it does not
UNREST_S = 2.0  # after a ring: drivers bind and permissions come within this time ...
UNREST_POLL_S = 0.2  # ... and each change is noticed within this one
SETTLE_S = 0.05  # rings of one plug come together: one look for all of them

_KOBJECT_UEVENT = 15  # netlink protocol
_KERNEL_AND_UDEV = 0b11  # multicast groups
_MESSAGE_MAX = 65536
_MESSAGES_MAX = 10_000


def uevents() -> socket.socket | None:
    """The kernel's bell, non-blocking; None where it may not be had."""
    try:
        bell = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, _KOBJECT_UEVENT)
    except OSError:
        return None
    try:
        bell.bind((0, _KERNEL_AND_UDEV))
    except OSError:
        bell.close()
        return None
    bell.setblocking(False)
    return bell


def watch(
    look: Callable[[], object],
    changed: Callable[[], None],
    bell: socket.socket | None,
    poll_s: float | None = None,
) -> Callable[[], None]:
    """Call `changed`, from a thread, whenever `look` answers otherwise than before; returns what ends it.

    `bell` is closed at the end. The first look is taken before this returns.
    """
    watcher = _Watcher(look, changed, bell, poll_s or (BELL_POLL_S if bell else POLL_S))
    watcher.start()
    return watcher.cancel


class _Watcher(threading.Thread):
    def __init__(
        self, look: Callable[[], object], changed: Callable[[], None], bell: socket.socket | None, poll_s: float
    ) -> None:
        super().__init__(name="usb-hotplug", daemon=True)
        self._look, self._changed, self._bell, self._poll_s = look, changed, bell, poll_s
        self._end = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ending = threading.Lock()
        self._ended = False
        self._seen = look()

    def run(self) -> None:
        restless_until = time.monotonic()
        end, poll = select.poll(), select.poll()
        end.register(self._end, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        if self._bell is not None:
            poll.register(self._bell, select.POLLIN)
        while True:
            wait_s = UNREST_POLL_S if time.monotonic() < restless_until else self._poll_s
            events = dict(poll.poll(min(wait_s, self._poll_s) * 1000))
            if self._end in events:
                return
            if events:
                if end.poll(SETTLE_S * 1000):
                    return
                restless_until = time.monotonic() + UNREST_S
                if not self._silence():
                    poll.unregister(self._bell)  # type: ignore[arg-type]  # it rang
            now_seen = self._look()
            if now_seen != self._seen:
                self._seen = now_seen
                self._changed()

    def cancel(self) -> None:
        """Idempotent; no call to `changed` comes after it returned, but to one that cancels."""
        with self._ending:
            if not self._ended:
                self._ended = True
                os.eventfd_write(self._end, 1)
                if threading.current_thread() is self:
                    return
        if threading.current_thread() is not self:
            self.join()

    def _silence(self) -> bool:
        """Read what rang; whether it can ring again. Anybody may send here: the contents are never used."""
        assert self._bell is not None
        try:
            for _ in range(_MESSAGES_MAX):
                self._bell.recv(_MESSAGE_MAX)
        except BlockingIOError:
            return True
        except OSError as error:
            return error.errno == errno.ENOBUFS  # rang more often than it was heard
        return True
