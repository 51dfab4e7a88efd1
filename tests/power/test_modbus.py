"""A real Modbus server in the process, and peers that only pretend to be one."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from miner.power import modbus
from miner.power.errors import MissingLibrary, Nonsense, PowerError, Unreadable
from miner.power.modbus import Modbus, Register

ServeRaw = Callable[[Callable[[socket.socket, threading.Event], None]], int]
POWER = Register(0, "float32", 1.0)
ENERGY = Register(10, "uint32", 3600.0)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Float 1234.5 at 0, uint32 100000 at 10, int16 -5 at 20, a small word first 65536 + 2 at 30."""
    words = [0] * 40
    words[0:2] = struct.unpack(">HH", struct.pack(">f", 1234.5))
    words[10:12] = [1, 34_464]
    words[20] = 65_531
    words[30:32] = [2, 1]
    words[34:36] = struct.unpack(">HH", struct.pack(">f", float("nan")))
    started, ports = threading.Event(), []
    loop = asyncio.new_event_loop()

    async def run() -> None:
        device = SimDevice(1, simdata=[SimData(0, values=words, datatype=DataType.REGISTERS)])
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        await server.listen()
        ports.append(server.transport.sockets[0].getsockname()[1])
        ending = asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(ending.set))
        started.set()
        await ending.wait()
        await server.shutdown()

    stop: list[Callable[[], object]] = []
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(30)
    yield ports[0]
    stop[0]()
    thread.join()
    loop.close()


def meter(port: int, power: Register | None = None, energy: Register | None = None) -> Modbus:
    return Modbus("rack", "127.0.0.1", port, power=power, energy=energy, clock=lambda: 7.0)


def test_power_and_energy_are_read_in_one_sample(port: int) -> None:
    reading = meter(port, POWER, ENERGY)
    try:
        for _ in range(2):
            sample = reading.read(20.0)
            assert (sample.at, sample.watts) == (7.0, 1234.5)
            (counter,) = sample.counters
            assert counter.joules == 100_000 * 3600.0
            assert counter.range_j == (1 << 32) * 3600.0
    finally:
        reading.close()


def test_words_may_stand_the_other_way_round_and_counts_have_a_scale(port: int) -> None:
    reading = meter(port, Register(30, "uint32", 0.1, word_order="little"))
    try:
        assert reading.read(20.0).watts == pytest.approx(6553.8)
    finally:
        reading.close()


@pytest.mark.parametrize(
    ("register", "sentence"),
    [
        (Register(20, "int16", 1.0), "the other way"),
        (Register(34, "float32", 1.0), "where its power should be"),
        (Register(9000, "float32", 1.0), "refuses holding register 9000"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(port: int, register: Register, sentence: str) -> None:
    reading = meter(port, register)
    try:
        with pytest.raises(Nonsense, match=sentence):
            reading.read(20.0)
    finally:
        reading.close()


def test_nobody_there_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        gone = listener.getsockname()[1]
    with pytest.raises(Unreadable, match="does not answer over Modbus"):
        meter(gone, POWER).read(5.0)


@pytest.mark.parametrize("head", [b"", b"\x00", b"\x00\x01\x00\x00\x00\xff\x01\x03\xfc", b"HTTP/1.1 400 Bad\r\n\r\n"])
def test_a_meter_that_drips_is_left_at_the_deadline(serve_raw: ServeRaw, head: bytes) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(64)
        connection.sendall(head)
        while not over.wait(0.02):
            connection.sendall(b"\x00")

    reading = meter(serve_raw(talk), POWER)
    began = time.monotonic()
    with pytest.raises(PowerError):
        reading.read(0.5)
    assert time.monotonic() - began < 10


def test_a_register_knows_where_it_starts_again() -> None:
    assert Register(0, "uint16", 10.0).range == 655_360.0
    assert Register(0, "float32", 1.0).range is None


def test_without_the_library_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pymodbus", None)
    modbus._library.cache_clear()
    with pytest.raises(MissingLibrary, match="pip install"):
        meter(502, POWER)
    modbus._library.cache_clear()
