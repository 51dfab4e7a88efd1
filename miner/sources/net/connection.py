"""One TCP or TLS connection to a pool: bytes, time-outs, and the system's words for errors. Knows no Stratum.

Received bytes are passed on in the same turn of the event loop. A StreamReader would wake a task first, which delays
new work by a tenth of a millisecond on a machine that hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Self, cast

from miner.printable import printable
from miner.sources.base import SourceMisbehaved, SourceUnreachable

MAX_UNSENT = 1 << 20  # bytes that the peer may leave unread before it counts as gone
CLOSE_S = 2.0
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))  # seconds, seconds, probes

Dial = Callable[[str, int, float], Awaitable[socket.socket]]  # host, port, time-out: through a proxy
Receive = Callable[[bytes], None]


class Connection(asyncio.Protocol):
    """An open connection; `listen`, `write` and `close` in one event loop."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._receive: Receive | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()

    @classmethod
    async def open(
        cls, host: str, port: int, timeout: float, *, tls: ssl.SSLContext | None = None, dial: Dial | None = None
    ) -> Self:
        """Connect within `timeout` seconds, including the TLS handshake. Raises SourceUnreachable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                if dial is not None:
                    raw, name = await dial(host, port, timeout), host if tls else None
                    _, connection = await loop.create_connection(cls, sock=raw, ssl=tls, server_hostname=name)
                else:
                    _, connection = await loop.create_connection(cls, host, port, ssl=tls, happy_eyeballs_delay=0.25)
        except ssl.SSLCertVerificationError as error:
            text = f"its certificate does not prove that it is {host}: {printable(error.verify_message)}"
            raise SourceUnreachable(text) from error
        except TimeoutError as error:
            raise SourceUnreachable(f"no connection within {timeout:g} s") from error
        except (ssl.SSLError, ConnectionResetError) as error:
            text = f"{_said(error)} in the TLS handshake; is this port for TLS?" if tls else _said(error)
            raise SourceUnreachable(text) from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be looked up
            raise SourceUnreachable(_said(error)) from error
        return connection

    @property
    def secured(self) -> str:
        """The TLS version, or an empty text for plain TCP."""
        tls = self._open.get_extra_info("ssl_object")
        return str(tls.version()) if tls is not None else ""

    async def listen(self, receive: Receive) -> None:
        """Call `receive` with bytes until the connection ends. Raises SourceUnreachable, and what `receive` raises."""
        self._receive = receive
        self._open.resume_reading()
        try:
            await self._ended
        except OSError as error:
            raise SourceUnreachable(_said(error)) from error

    def write(self, data: bytes) -> None:
        """Send as soon as possible. Raises SourceMisbehaved if the peer has long stopped reading."""
        if self._open.is_closing():
            return  # whoever listens is told
        self._open.write(data)
        if self._open.get_write_buffer_size() > MAX_UNSENT:
            raise SourceMisbehaved("it does not read what we send")

    def abort(self) -> None:
        """End the connection now; `listen` returns or raises."""
        self._open.abort()

    async def close(self) -> None:
        """Send what was written, then end the connection."""
        self._open.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._lost.wait()
                return
        self.abort()

    # ---- what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()  # until somebody listens
        self._tune()

    def data_received(self, data: bytes) -> None:
        assert self._receive is not None
        try:
            self._receive(data)
        except Exception as defect:  # noqa: BLE001  for whoever listens: the loop would only log it
            self._end(defect)
            self.abort()

    def eof_received(self) -> None:
        self._end(None)  # now, because `connection_lost` comes only once all bytes are sent, which a peer may prevent

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._lost.set()

    # ---- private

    @property
    def _open(self) -> asyncio.Transport:
        assert self._transport is not None
        return self._transport

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    def _tune(self) -> None:
        """Send each share at once (no Nagle), and notice a peer that vanished (keep-alive)."""
        raw: socket.socket = self._open.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, (socket.gaierror, ssl.SSLError)) and error.errno:
        return os.strerror(error.errno)  # asyncio's own text repeats the address and leaves out what happened
    if isinstance(error, ConnectionResetError):
        return os.strerror(errno.ECONNRESET)  # asyncio raises it without a number
    return printable((getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200])
