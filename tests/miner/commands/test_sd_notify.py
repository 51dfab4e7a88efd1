from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.commands.sd_notify import Notifier


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """The service manager's end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        yield end


@pytest.mark.parametrize("abstract", [False, True])
def test_each_message_is_one_datagram_of_the_protocol(
    manager: socket.socket, tmp_path: Path, *, abstract: bool
) -> None:
    name = f"@angara-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    manager.bind(name.replace("@", "\0", 1) if abstract else name)
    notifier = Notifier({"NOTIFY_SOCKET": name}, clock_ns=lambda: 12_345_678)
    notifier.ready()
    notifier.reloading()
    notifier.status("mining at 5 MH/s\nREADY=1")
    notifier.watchdog()
    notifier.stopping()
    assert [manager.recv(4096) for _ in range(5)] == [
        b"READY=1",
        b"RELOADING=1\nMONOTONIC_USEC=12345",
        b"STATUS=mining at 5 MH/s\\x0aREADY=1",
        b"WATCHDOG=1",
        b"STOPPING=1",
    ]


@pytest.mark.parametrize("path", [None, "", "relative", "/nowhere/at/all", "vsock:2:1234"])
def test_without_a_manager_nothing_happens(path: str | None) -> None:
    Notifier({} if path is None else {"NOTIFY_SOCKET": path}).ready()


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket, tmp_path: Path) -> None:
    manager.bind(str(tmp_path / "notify"))
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
    for _ in range(5000):
        notifier.watchdog()
    assert manager.recv(64) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_sign_of_life_is_due_at_half_of_what_the_manager_allows(
    environ: dict[str, str], interval: float | None
) -> None:
    assert Notifier(environ).watchdog_s == interval
