"""One TCP or TLS connection to a pool: bytes, time-outs and what the system calls them. Knows no Stratum."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from miner.printable import printable
from miner.sources.base import SourceMisbehaved, SourceUnreachable

CHUNK = 1 << 16  # bytes at a time
MAX_UNSENT = 1 << 20  # bytes that the peer may leave unread before it counts as gone
CLOSE_S = 2.0
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes

Dial = Callable[[str, int, float], Awaitable[socket.socket]]  # host, port, time-out: through a proxy


class Connection:
    """An open connection; `read`, `write` and `close` in one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(
        cls, host: str, port: int, timeout: float, *, tls: ssl.SSLContext | None = None, dial: Dial | None = None
    ) -> Self:
        """Connect within `timeout` seconds, proof of the pool's name included; raises SourceUnreachable."""
        try:
            async with asyncio.timeout(timeout):
                if dial is not None:
                    streams = await asyncio.open_connection(
                        sock=await dial(host, port, timeout), ssl=tls, server_hostname=host if tls else None
                    )
                else:
                    streams = await asyncio.open_connection(host, port, ssl=tls, happy_eyeballs_delay=0.25)
        except ssl.SSLCertVerificationError as error:
            text = f"its certificate does not prove that it is {host}: {printable(error.verify_message)}"
            raise SourceUnreachable(text) from error
        except TimeoutError as error:
            raise SourceUnreachable(f"no connection within {timeout:g} s") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be looked up
            raise SourceUnreachable(_said(error)) from error
        connection = cls(*streams)
        connection._tune()
        return connection

    @property
    def secured(self) -> str:
        """The TLS version, or an empty text for plain TCP."""
        tls = self._writer.get_extra_info("ssl_object")
        return str(tls.version()) if tls is not None else ""

    async def read(self) -> bytes:
        """What came next, nothing at the end; raises SourceUnreachable."""
        try:
            return await self._reader.read(CHUNK)
        except OSError as error:
            raise SourceUnreachable(_said(error)) from error

    def write(self, data: bytes) -> None:
        """Send as soon as may be; raises SourceMisbehaved where the peer has long stopped to read."""
        if self._writer.transport.is_closing():
            return  # whoever reads is told
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            raise SourceMisbehaved("it does not read what we send")

    def abort(self) -> None:
        """End it now: whoever reads is told so."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Let what was written leave, then end."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._writer.wait_closed()
                return
        self.abort()

    def _tune(self) -> None:
        """A share waits for nobody, and a peer that vanished is noticed."""
        raw: socket.socket = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, (socket.gaierror, ssl.SSLError)) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address and leaves out what happened
    return printable((getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200])
