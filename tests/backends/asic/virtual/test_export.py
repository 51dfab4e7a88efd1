"""Boards over USB/IP, seen by a client that speaks the protocol as the kernel does."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from usbip.core import NotFound
from usbip.protocol import client_devlist, client_import

from backends.asic.virtual import VirtualBus
from backends.asic.virtual.serve import main
from backends.asic.virtual.usbip_export import Exports
from tests.backends.asic.virtual.bench import framed

READ_ID = framed("52050000")
SUBMIT, UNLINK, SUBMITTED, UNLINKED = 1, 2, 3, 4


class Host:
    """One attached device, transfers by number."""

    def __init__(self, address: tuple[str, int], busid: str) -> None:
        self.socket = socket.create_connection(address, timeout=10)
        self.device = client_import(self.socket, busid.encode())
        self._number = 0

    def submit(self, endpoint: int, data: bytes = b"", length: int = 0, setup: bytes = bytes(8)) -> int:
        """Length for a transfer to the host, data for one from it."""
        self._number += 1
        to_host = bool(length)
        head = struct.pack(">5I", SUBMIT, self._number, 0, to_host, endpoint)
        head += struct.pack(">Iiiii", 0, length or len(data), 0, 0, 0) + setup
        self.socket.sendall(head + data)
        return self._number

    def unlink(self, number: int) -> None:
        self._number += 1
        self.socket.sendall(struct.pack(">5I", UNLINK, self._number, 0, 0, 0) + struct.pack(">I", number) + bytes(24))

    def answer(self, *, to_host: bool = False) -> tuple[int, int, int, bytes]:
        """Kind, number, status, data."""
        head = self._exactly(48)
        kind, number = struct.unpack(">II", head[:8])
        status, actual = struct.unpack(">ii", head[20:28])
        return kind, number, status, self._exactly(actual) if to_host and kind == SUBMITTED else b""

    def _exactly(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            got = self.socket.recv(length - len(data))
            assert got, "the device is gone"
            data += got
        return data


@pytest.fixture
def exports() -> Iterator[Exports]:
    bus = VirtualBus(["compac-f", "bitaxe-gamma"], scale=1.0)
    made = Exports([bus.board(one.path) for one in bus.scan()], port=0)
    yield made
    made.close()
    bus.close()


def test_the_list_names_what_may_be_attached(exports: Exports) -> None:
    with socket.create_connection(exports.address, timeout=10) as connection:
        devices = client_devlist(connection)
    assert [(one["busid"], one["idVendor"], one["interfaces"][0]) for one in devices] == [
        ("1-1", 0x0403, (255, 255, 255)),
        ("1-2", 0xC0DE, (2, 2, 0)),
    ]


def test_a_board_is_attached_by_one_host_at_a_time(exports: Exports) -> None:
    host = Host(exports.address, "1-1")
    host.submit(0, setup=struct.pack("<BBHHH", 0x40, 3, 0x1A, 0, 0))
    host.answer()  # it has it by now: that it may is answered before it is given
    with pytest.raises(NotFound):
        Host(exports.address, "1-1")
    host.socket.close()


def test_transfers_wait_until_there_is_data_and_complete_in_order(exports: Exports) -> None:
    host = Host(exports.address, "1-1")
    host.submit(0, setup=struct.pack("<BBHHH", 0x40, 3, 0x1A, 0, 0))
    assert host.answer()[2] == 0
    host.submit(0, setup=struct.pack("<BBHHH", 0x40, 9, 255, 0, 0))  # status bytes every 255 ms only
    host.answer()
    first, second = host.submit(1, length=64), host.submit(1, length=64)
    sent = host.submit(2, READ_ID * 14)
    answers = [host.answer() if at == 0 else host.answer(to_host=True) for at in range(1)]
    assert answers[0][1] == sent
    _, number, status, data = host.answer(to_host=True)
    assert (number, status, len(data)) == (first, 0, 64)
    _, number, status, more = host.answer(to_host=True)
    assert (number, status, len(more)) == (second, 0, 64)
    assert (data[2:] + more[2:]).startswith(bytes.fromhex("aa5513971800000006") * 13)
    host.socket.close()


def test_an_unlinked_transfer_is_never_answered(exports: Exports) -> None:
    host = Host(exports.address, "1-2")
    reading = host.submit(2, length=64)
    host.unlink(reading)
    assert host.answer()[:2] == (UNLINKED, reading + 1)
    host.submit(0, length=2, setup=struct.pack("<BBHHH", 0x80, 0, 0, 0, 2))
    assert host.answer(to_host=True)[1] == reading + 2
    host.socket.close()


def test_what_the_model_refuses_is_a_stall(exports: Exports) -> None:
    host = Host(exports.address, "1-2")
    host.submit(0, length=2, setup=struct.pack("<BBHHH", 0xC0, 0x77, 0, 0, 2))
    assert host.answer()[2] == -errno.EPIPE
    host.socket.close()


def test_a_pulled_plug_hangs_up(exports: Exports) -> None:
    host = Host(exports.address, "1-2")
    host.submit(2, length=64)
    exports.unplug(2)
    with suppress(ConnectionResetError):  # what it had not read yet turns the end into a reset
        while host.socket.recv(4096):
            continue
    with pytest.raises(NotFound):
        Host(exports.address, "1-2")
    exports.replug(2)
    Host(exports.address, "1-2").socket.close()


def test_the_command_serves_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "backends.asic.virtual", "--serve", "127.0.0.1:0", "compac-a1,serial=A1TEST"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        address = ("127.0.0.1", int(words[words.index("--tcp-port") + 1]))
        host = Host(address, words[-1])
        host.submit(0, length=64, setup=struct.pack("<BBHHH", 0x80, 6, 0x0303, 0, 64))
        assert host.answer(to_host=True)[3][2:].decode("utf-16-le") == "A1TEST"
        process.terminate()
        assert process.wait(timeout=10) == 0
        host.socket.close()


def test_a_board_ordered_to_unplug_itself_hangs_up_on_its_host() -> None:
    command = [sys.executable, "-m", "backends.asic.virtual", "--serve", "127.0.0.1:0", "compac-f,fault=unplug:1"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(words[words.index("--tcp-port") + 1])), timeout=10) as host:
            with suppress(NotFound):  # it may be gone by now
                client_import(host, b"1-1")
            assert host.recv(1) == b""
        process.terminate()


def test_the_command_lists_kinds_and_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "compac-f",
        "bitaxe-gamma",
        "compac-a1",
    ]
    for nonsense in ([], ["--serve"], ["--serve", "antminer"], ["--scale", "2", "--serve", "compac-f"]):
        with pytest.raises(SystemExit) as ended:
            main(nonsense)
        assert ended.value.code == 2
