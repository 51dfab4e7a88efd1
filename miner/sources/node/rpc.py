"""JSON-RPC to a node through python-bitcoinrpc, with what that library leaves open closed in one place.

One connection per `Rpc`, used by one thread at a time: the library is not thread-safe, and a longpoll must not keep
submitblock waiting. Handled here: no batches (broken against today's nodes); a connection is thrown away after any
failure (after a time-out it is dead for good); one that the node closed meanwhile is tried once more; user and
password may hold any character; cookies are read at each connection and again after a 401; HTTP errors become classes;
answers are bounded in size, in number of values and in time as a whole, down to their first byte; the log of the
library, which spells out every answer a second time, is left out.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from miner.printable import printable
from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable

ANSWER_LIMIT = 24 << 20  # bytes; the largest template of Bitcoin Core is about 10 MB of JSON
VALUES_LIMIT = 1 << 20  # in one answer: `[],[],...` needs twenty times its own size in memory
COOKIE_LIMIT = 1024
TIMEOUT_S = 30.0
_TEXT_LIMIT = 300  # characters of what a peer says, in an error
_KEEPALIVE_S, _KEEPALIVE_COUNT = 20, 3  # so that a host that vanished ends a longpoll


class RpcRefused(SourceError):
    """The node understood and said no: `code` is Bitcoin Core's RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (RPC error {code})")
        self.code = code
        self.message = message


class RpcLoginRefused(SourceUnreachable):
    """HTTP 401. `renews`: the login is a cookie, which the node's next start replaces."""

    def __init__(self, message: str, *, renews: bool) -> None:
        super().__init__(message)
        self.renews = renews


class RpcForbidden(SourceMisconfigured):
    """HTTP 403: the node does not let this address in (rpcallowip) or this user call it (rpcwhitelist)."""


class RpcBroken(SourceMisbehaved):
    """The answer is no JSON-RPC: another server, a proxy in between, or nonsense."""


class _Unauthorized(SourceError):
    """HTTP 401, with this login on this connection."""


class Login(Protocol):
    """Where the user and password of a connection come from."""

    @property
    def renews(self) -> bool:
        """Whether `pair` may answer otherwise next time."""
        ...

    def pair(self) -> str:
        """`user:password`; SourceError if there is none to be had now."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A fixed user and password."""

    user: str
    password: str

    @property
    def renews(self) -> bool:
        return False

    def pair(self) -> str:
        return f"{self.user}:{self.password}"

    def __repr__(self) -> str:
        return f"Password({self.user!r})"


@dataclass(frozen=True, slots=True)
class Cookie:
    """The node's cookie file: rewritten at each of its starts, so read at each of our connections."""

    path: Path

    @property
    def renews(self) -> bool:
        return True

    def pair(self) -> str:
        try:
            with self.path.open("rb") as file:
                text = file.read(COOKIE_LIMIT).decode("ascii").strip()
        except PermissionError as error:
            raise SourceMisconfigured(
                f"may not read the node's cookie {self.path}: run as its user or group"
            ) from error
        except UnicodeDecodeError:
            text = ""  # not shown: it may be a secret of another kind
        except OSError as error:
            raise SourceUnreachable(
                f"no cookie at {self.path}: is the node running with this data directory?"
            ) from error
        if ":" not in text:
            raise SourceUnreachable(f"{self.path} holds no cookie")
        return text


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node listens."""

    host: str
    port: int
    path: str = "/"
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """Without anything secret, for logs."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Rpc:
    """Calls to one node over one connection at a time; not thread-safe but for `hang_up`.

    `timeout`: seconds for reaching the node, and for each answer as a whole.
    """

    def __init__(self, endpoint: Endpoint, login: Login, timeout: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._login = login
        self._timeout = timeout
        self._connection: _Connection | None = None
        self._hung_up = False

    def call(self, method: str, *params: object) -> Any:
        """The node's result.

        Raises RpcRefused (the node's own error), RpcLoginRefused, RpcForbidden, RpcBroken, and SourceUnreachable for
        everything that keeps an answer from arriving. Every method used here may safely be sent twice: submitblock then
        answers "duplicate".
        """
        return self._call(method, params, self._timeout)

    def wait(self, method: str, *params: object) -> Any:
        """The same for a call that the node answers when it likes; `hang_up` ends it early."""
        return self._call(method, params, None)

    def hang_up(self) -> None:
        """End a call that is under way, from another thread: it raises SourceUnreachable."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            self._hung_up = True
            with contextlib.suppress(OSError):  # it ended by itself meanwhile
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(self, method: str, params: tuple[object, ...], patience: float | None) -> Any:
        name = self._endpoint.name
        self._hung_up = False
        try:
            return self._persistently(method, params, patience)
        except RpcRefused:
            raise
        except _Unauthorized as error:
            self.close()
            text = f"{name} refuses the user and password (or cookie) it was given"
            raise RpcLoginRefused(text, renews=self._login.renews) from error
        except SourceError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise SourceUnreachable(f"{name} did not answer {method} in {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise SourceUnreachable(f"{name}: {_bounded(str(error) or type(error).__name__)}") from error

    def _persistently(self, method: str, params: tuple[object, ...], patience: float | None) -> Any:
        kept = self._connection
        if kept is not None:
            try:
                return self._once(kept, method, params, patience)
            except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest, _Unauthorized):
                self.close()  # kept alive by us, closed by the node: that is no failure yet
                if self._hung_up:
                    raise
        connection = self._connect()
        try:
            return self._once(connection, method, params, patience)
        except _Unauthorized:
            if self._login.pair() == connection.pair:
                raise
            self.close()
            return self._once(self._connect(), method, params, patience)  # the node restarted: a new cookie

    def _connect(self) -> _Connection:
        self._connection = _Connection(self._endpoint, self._login.pair(), self._timeout)
        return self._connection

    def _once(self, connection: _Connection, method: str, params: tuple[object, ...], patience: float | None) -> Any:
        try:
            return _Proxy(self._endpoint, method, connection, patience)(*params)
        except JSONRPCException as error:
            raise RpcRefused(error.code, error.message) from error


class _Arrival(io.RawIOBase):
    """What arrives on a socket for one answer: head and body together bounded in size and time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)
        self._room = ANSWER_LIMIT
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._deadline is not None:  # without this, a byte now and then would do
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end in time")
            self._sock.settimeout(left)
        count = self._file.readinto(buffer) or 0
        self._room -= count
        if self._room < 0:
            raise _too_large()
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that neither grows nor drips for ever."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Arrival(sock), 1 << 16)

    def body(self) -> bytes:
        """All of it; IncompleteRead when the connection ends first."""
        if (self.length or 0) > ANSWER_LIMIT:
            raise _too_large()
        body = b"".join(iter(lambda: self.read(1 << 20), b""))  # in pieces: an announced size is memory taken
        if self.length:
            raise http.client.IncompleteRead(body, self.length)
        return body


class _Connection(http.client.HTTPConnection):
    """The library's connection, with our login and our limits."""

    response_class = _Answer

    def __init__(self, endpoint: Endpoint, pair: str, timeout: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=timeout)
        self._name = endpoint.name
        self._tls = endpoint.tls
        self._authorization = b"Basic " + base64.b64encode(pair.encode())
        self.pair = pair

    def connect(self) -> None:
        super().connect()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_COUNT)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def request(  # type: ignore[override]  # the library's one way to call it
        self, method: str, url: str, body: str, headers: Mapping[str, Any]
    ) -> None:
        if self.sock is not None:
            self.sock.settimeout(self.timeout)  # the last answer left little of it
        own: dict[str, Any] = {"Host": self._name, "Authorization": self._authorization}
        super().request(method, url, body.encode(), {**headers, **own})


class _Proxy(AuthServiceProxy):  # type: ignore[misc]  # the library has no types
    """One call of the library, but for its way to read answers: that has no bounds and spells each out in a log."""

    def __init__(self, endpoint: Endpoint, method: str, connection: _Connection, patience: float | None) -> None:
        scheme = "http" if endpoint.tls is None else "https"
        # User and password stand in the connection: the library neither unquotes nor hides those of a URL.
        url = f"{scheme}://x:x@{endpoint.name}{endpoint.path}"
        super().__init__(url, method, timeout=patience, connection=connection)
        self._what = f"{endpoint.name} answered {method}"
        self._name = endpoint.name
        self._connection = connection

    def _get_response(self) -> dict[str, Any]:
        """An object with `result`, or with `error` as an object of `code` and `message`."""
        response = self._connection.getresponse()
        assert isinstance(response, _Answer)
        try:
            body = response.body()
        except ValueError as error:  # a chunk of negative size
            raise RpcBroken(f"{self._what} with broken HTTP: {_bounded(str(error))}") from error
        match response.status:
            case http.HTTPStatus.UNAUTHORIZED:
                raise _Unauthorized
            case http.HTTPStatus.FORBIDDEN:
                raise RpcForbidden(f"{self._name} forbids this: check rpcallowip and rpcwhitelist on the node")
            case http.HTTPStatus.SERVICE_UNAVAILABLE:
                raise SourceUnreachable(f"{self._name} is too busy: its work queue is full (rpcworkqueue)")
        # Errors come with status 404 or 500 and a body, some nodes name the content type differently: the body decides.
        answer = self._parsed(response.status, body)
        refusal = answer.get("error")
        if refusal is None and "result" in answer:
            return answer
        code, message = (refusal.get("code"), refusal.get("message")) if isinstance(refusal, dict) else (None, None)
        if type(code) is int and abs(code) < 1 << 31 and isinstance(message, str):
            return {"error": {"code": code, "message": _bounded(message)}}
        raise RpcBroken(f"{self._what} with neither result nor error (HTTP {response.status})")

    def _parsed(self, status: int, body: bytes) -> dict[str, Any]:
        if body.count(b",") > VALUES_LIMIT:
            raise RpcBroken(f"{self._what} with more than {VALUES_LIMIT} values")
        try:
            answer = json.loads(body.decode(), parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RpcBroken(f"{self._what} with no JSON (HTTP {status}): {_bounded(str(error))}") from error
        if not isinstance(answer, dict):
            raise RpcBroken(f"{self._what} with no JSON-RPC (HTTP {status})")
        return answer


def _too_large() -> RpcBroken:
    return RpcBroken(f"the answer is larger than {ANSWER_LIMIT >> 20} MiB")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _bounded(text: str) -> str:
    """A peer's words, fit for a log line."""
    return printable(text[:_TEXT_LIMIT])
