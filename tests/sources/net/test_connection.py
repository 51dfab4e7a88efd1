from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from miner.sources.base import SourceMisbehaved, SourceUnreachable
from miner.sources.net import connection as module
from miner.sources.net.connection import Connection


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Connection, asyncio.StreamWriter]]:
    """A connection and the peer's end of it."""
    peers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    readers: list[asyncio.StreamReader] = []  # a connection is ended when nobody has its reader any more

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        readers.append(reader)
        peers.put_nowait(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    connection = await Connection.open("127.0.0.1", server.sockets[0].getsockname()[1], 10.0)
    peer = await peers.get()
    try:
        yield connection, peer
    finally:
        peer.close()
        await connection.close()
        server.close()


def flood(connection: Connection) -> None:
    for _ in range(64):
        connection.write(bytes(module.MAX_UNSENT))


async def test_what_came_before_anybody_listened_is_not_lost() -> None:
    heard: list[bytes] = []
    async with connected() as (connection, peer):
        peer.write(b"early")
        await peer.drain()
        peer.close()
        await connection.listen(heard.append)
    assert b"".join(heard) == b"early"


async def test_a_port_that_closes_in_the_tls_handshake_is_suspected_of_plain_tcp() -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceUnreachable, match=r"^Connection reset by peer in the TLS .*is this port for TLS\?$"):
            await Connection.open("127.0.0.1", port, 10.0, tls=ssl.create_default_context())


async def test_new_work_waits_for_no_task_to_be_woken() -> None:
    turns: list[int] = []
    async with connected() as (connection, peer):
        loop = asyncio.get_running_loop()

        def count_on(turn: int) -> None:
            turns.append(turn)
            loop.call_soon(count_on, turn + 1)

        def receive(_: bytes) -> None:
            turns.append(-1)
            connection.abort()

        read = connection.data_received

        def reading(data: bytes) -> None:
            turns.clear()
            count_on(0)
            read(data)

        connection.data_received = reading  # type: ignore[method-assign]
        peer.write(b"notify")
        await connection.listen(receive)
    assert turns[:2] == [0, -1]


async def test_a_defect_in_whoever_listens_comes_out_where_it_listens() -> None:
    def defective(_: bytes) -> None:
        raise ZeroDivisionError

    async with connected() as (connection, peer):
        peer.write(b"anything")
        with pytest.raises(ZeroDivisionError):
            await connection.listen(defective)


async def test_a_peer_that_reads_nothing_is_not_written_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    async with connected() as (connection, _):
        with pytest.raises(SourceMisbehaved):
            flood(connection)


async def test_a_peer_that_says_no_more_and_reads_nothing_is_no_longer_listened_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_S", 0.01)
    async with connected() as (connection, peer):
        with pytest.raises(SourceMisbehaved):
            flood(connection)
        peer.write_eof()
        async with asyncio.timeout(10.0):
            await connection.listen(lambda _: None)
