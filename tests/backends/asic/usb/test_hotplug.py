from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backends.asic.usb import hotplug

PATIENCE_S = 10.0
NEVER_S = 3600.0


class Ports:
    """What is plugged in, and who was told that it changed."""

    def __init__(self) -> None:
        self.plugged: list[str] = []
        self.changes = 0
        self.looks = 0
        self._told = threading.Condition()

    def look(self) -> list[str]:
        with self._told:
            self.looks += 1
            self._told.notify_all()
            return list(self.plugged)

    def changed(self) -> None:
        with self._told:
            self.changes += 1
            self._told.notify_all()

    def wait_for_changes(self, count: int) -> bool:
        with self._told:
            return self._told.wait_for(lambda: self.changes >= count, PATIENCE_S)

    def wait_for_looks(self, more: int) -> bool:
        with self._told:
            goal = self.looks + more
            return self._told.wait_for(lambda: self.looks >= goal, PATIENCE_S)


@contextmanager
def watching(ports: Ports, bell: socket.socket | None, poll_s: float) -> Iterator[None]:
    cancel = hotplug.watch(ports.look, ports.changed, bell, poll_s)
    try:
        yield
    finally:
        cancel()


def test_a_ring_makes_it_look_at_once() -> None:
    ports = Ports()
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with kernels, watching(ports, ours, NEVER_S):
        ports.plugged.append("1-1")
        kernels.send(b"add@/devices/pci0000:00/usb1/1-1\0ACTION=add\0")
        assert ports.wait_for_changes(1)
        ports.plugged.clear()
        kernels.send(b"")  # whatever it says
        assert ports.wait_for_changes(2)


def test_a_ring_without_a_change_tells_nobody() -> None:
    ports = Ports()
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with kernels, watching(ports, ours, NEVER_S):
        kernels.send(b"bind@/devices/elsewhere\0")
        assert ports.wait_for_looks(1)
    assert ports.changes == 0


def test_after_a_ring_it_keeps_looking_for_a_while_as_drivers_and_permissions_come_later() -> None:
    ports = Ports()
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with kernels, watching(ports, ours, NEVER_S):
        kernels.send(b"add@/devices/pci0000:00/usb1/1-1\0")
        assert ports.wait_for_looks(2)
        ports.plugged.append("1-1, and now openable")
        assert ports.wait_for_changes(1)


def test_without_a_bell_it_looks_now_and_then() -> None:
    ports = Ports()
    with watching(ports, None, 0.01):
        ports.plugged.append("1-1")
        assert ports.wait_for_changes(1)


def test_with_a_silent_bell_it_looks_now_and_then() -> None:
    ports = Ports()
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.setblocking(False)
    with kernels, watching(ports, ours, 0.01):
        ports.plugged.append("1-1")
        assert ports.wait_for_changes(1)


def test_a_bell_that_breaks_is_done_without() -> None:
    ports = Ports()
    ours, kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with watching(ports, ours, 0.01):
        kernels.close()
        ports.plugged.append("1-1")
        assert ports.wait_for_changes(1)


def test_no_call_comes_after_it_was_ended() -> None:
    ports = Ports()
    cancel = hotplug.watch(ports.look, ports.changed, None, 0.01)
    cancel()
    cancel()
    ports.plugged.append("1-1")
    assert not any(thread.name == "usb-hotplug" for thread in threading.enumerate())
    assert ports.changes == 0


def test_it_may_be_ended_from_inside_its_own_call() -> None:
    ports = Ports()
    ended = threading.Event()

    def end() -> None:
        cancel()
        ended.set()

    cancel = hotplug.watch(ports.look, end, None, 0.01)
    ports.plugged.append("1-1")
    assert ended.wait(PATIENCE_S)
    cancel()


def test_the_kernels_bell_is_heard_without_blocking_where_it_may_be_had() -> None:
    bell = hotplug.uevents()
    if bell is not None:
        with bell:
            assert not bell.getblocking()
