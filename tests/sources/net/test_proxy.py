"""Through proxies that the test runs itself; they know the few bytes of RFC 1928 and of CONNECT that it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from miner.sources.base import SourceMisconfigured
from miner.sources.net.connection import Connection
from miner.sources.net.proxy import dialler
from miner.sources.net.tls import Tls
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.source import StratumSource
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_tls import Authority


@dataclass
class Proxy:
    """Says yes, and leads wherever `target` is; remembers what it was asked for."""

    target: int
    refuses: bool = False
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _pumps: list[asyncio.Task[None]] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(1)
        if first == b"\x05":
            await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x05\x00")
            await reader.readexactly(4)
            host = await reader.readexactly((await reader.readexactly(1))[0])
            port = int.from_bytes(await reader.readexactly(2), "big")
            self.asked.append(f"{host.decode()}:{port}")
            writer.write(b"\x05" + (b"\x05" if self.refuses else b"\x00") + b"\x00\x01" + bytes(6))
        else:
            head = first + await reader.readuntil(b"\r\n\r\n")
            self.asked.append(head.split()[1].decode())
            writer.write(b"HTTP/1.1 403 Forbidden\r\n\r\n" if self.refuses else b"HTTP/1.1 200 OK\r\n\r\n")
        if self.refuses:
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._pumps += [asyncio.create_task(_pump(reader, back)), asyncio.create_task(_pump(there, writer))]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
    finally:
        writer.close()


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_pool_is_reached_through_a_proxy_that_looks_up_its_name(scheme: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with VirtualPool(tls=authority.server("pool.example.com")) as pool:
        async with Proxy(pool.port).running() as proxy:
            options = StratumOptions(
                host="pool.example.com",
                port=pool.port,
                user="me",
                tls=Tls(ca_file=authority.ca_file),
                proxy=f"{scheme}://127.0.0.1:{proxy.port}",
            )
            findings = await StratumSource(options).check()
    assert proxy.asked == [f"pool.example.com:{pool.port}"]
    assert "the pool knows the user" in findings


@pytest.mark.parametrize("scheme", ["socks5", "http"])
async def test_a_proxy_that_refuses_is_an_unreachable_pool(scheme: str) -> None:
    async with Proxy(0, refuses=True).running() as proxy:
        dial = dialler(f"{scheme}://me:hunter2@127.0.0.1:{proxy.port}")
        with pytest.raises(Exception, match="the proxy") as error:
            await Connection.open("pool.example.com", 3333, 10.0, dial=dial)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1:1", "127.0.0.1:1080", "socks5://me:hunter2@", "socks5://h:x"])
def test_a_proxy_that_cannot_be_is_a_persons_business(url: str) -> None:
    with pytest.raises(SourceMisconfigured) as error:
        dialler(url)
    assert "hunter2" not in str(error.value)
