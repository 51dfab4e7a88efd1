"""JSON-RPC to a node through python-bitcoinrpc, with what that library leaves open closed in one place.

One connection per `Rpc`, used by one thread at a time: the library is not thread-safe, and a longpoll must not keep
submitblock waiting. Handled here: no batches (broken against today's nodes); a proxy is thrown away after any failure
(after a time-out it is dead for good); a kept-alive connection that the node closed meanwhile is tried once more; user
and password may hold any character; cookies are read at each connection and again after a 401; HTTP errors become
classes; answers are bounded in size and in time; fractions come back as Decimal.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bitcoinrpc.authproxy import AuthServiceProxy, JSONRPCException

from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable

ANSWER_LIMIT = 48 << 20  # bytes; a template of 4 MB of transactions is about 9 MB of JSON
COOKIE_LIMIT = 1024
TIMEOUT_S = 30.0
_TEXT_LIMIT = 300  # of what a peer says, in an error


class RpcRefused(SourceError):
    """The node understood and said no: `code` is Bitcoin Core's RPC error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (RPC error {code})")
        self.code = code
        self.message = message


class RpcLoginRefused(SourceUnreachable):
    """HTTP 401: the node does not know this user, password or cookie (a restarted node has a new cookie)."""


class RpcForbidden(SourceMisconfigured):
    """HTTP 403: the node does not let this address in (rpcallowip) or this user call it (rpcwhitelist)."""


class RpcBroken(SourceMisbehaved):
    """The answer is no JSON-RPC: another server, a proxy in between, or nonsense."""


class Login(Protocol):
    """Where the user and password of a connection come from."""

    def pair(self) -> str:
        """`user:password`; SourceError if there is none to be had now."""
        ...


@dataclass(frozen=True, slots=True)
class Password:
    """A fixed user and password."""

    user: str
    password: str

    def pair(self) -> str:
        return f"{self.user}:{self.password}"

    def __repr__(self) -> str:
        return f"Password({self.user!r})"


@dataclass(frozen=True, slots=True)
class Cookie:
    """The node's cookie file: rewritten at each of its starts, so read at each of our connections."""

    path: Path

    def pair(self) -> str:
        try:
            with self.path.open("rb") as file:
                text = file.read(COOKIE_LIMIT).decode("ascii").strip()
        except PermissionError as error:
            raise SourceMisconfigured(
                f"may not read the node's cookie {self.path}: run as its user or group"
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise SourceUnreachable(
                f"no cookie at {self.path}: is the node running with this data directory?"
            ) from error
        if ":" not in text:
            raise SourceUnreachable(f"{self.path} holds no cookie yet")
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


class _Answer(http.client.HTTPResponse):
    """An answer that neither grows nor drips for ever."""

    deadline: float = 0.0  # set by the connection; seconds, monotonic

    def read(self, amt: int | None = None) -> bytes:
        del amt  # the library asks for everything
        body = bytearray()
        while chunk := super().read(1 << 16):
            body += chunk
            if len(body) > ANSWER_LIMIT:
                raise RpcBroken(f"the answer is larger than {ANSWER_LIMIT >> 20} MiB")
            if time.monotonic() > self.deadline:
                raise TimeoutError("the answer did not end in time")
        return bytes(body)

    def getheader(self, name: str, default: Any = None) -> Any:
        # The library takes "application/json" to the letter; other nodes add the character set.
        value = super().getheader(name, default)
        return value.partition(";")[0].strip().lower() if name == "Content-Type" and value else value


class _Connection(http.client.HTTPConnection):
    """The library's connection, with our login, our limits and the status of the last answer."""

    response_class = _Answer

    def __init__(self, endpoint: Endpoint, pair: str, timeout: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=timeout)
        self._tls = endpoint.tls
        self._authorization = b"Basic " + base64.b64encode(pair.encode())
        self.pair = pair
        self.status: int | None = None

    def connect(self) -> None:
        super().connect()
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self.host)

    def request(  # type: ignore[override]  # the library's one way to call it
        self, method: str, url: str, body: str, headers: Mapping[str, Any]
    ) -> None:
        self.status = None
        super().request(method, url, body.encode(), {**headers, "Authorization": self._authorization})

    def getresponse(self) -> http.client.HTTPResponse:
        answer = super().getresponse()
        assert isinstance(answer, _Answer)
        answer.deadline = time.monotonic() + (self.timeout or TIMEOUT_S)
        self.status = answer.status
        return answer


class Rpc:
    """Calls to one node over one connection at a time; not thread-safe."""

    def __init__(self, endpoint: Endpoint, login: Login, timeout: float = TIMEOUT_S) -> None:
        self._endpoint = endpoint
        self._login = login
        self._timeout = timeout
        self._connection: _Connection | None = None

    def call(self, method: str, *params: object) -> Any:
        """The node's result.

        Raises RpcRefused (the node's own error), RpcLoginRefused, RpcForbidden, RpcBroken, and SourceUnreachable for
        everything that keeps an answer from arriving. Every method used here may safely be sent twice: submitblock then
        answers "duplicate".
        """
        connection = self._connection
        try:
            if connection is not None:
                try:
                    return self._once(connection, method, params)
                except (ConnectionError, http.client.BadStatusLine, http.client.CannotSendRequest, RpcLoginRefused):
                    self.close()  # kept alive by us, closed by the node: that is no failure yet
            connection = self._connect()
            try:
                return self._once(connection, method, params)
            except RpcLoginRefused:
                if self._login.pair() == connection.pair:
                    raise
                self.close()
                return self._once(self._connect(), method, params)  # the node restarted: a new cookie
        except RpcRefused:
            raise
        except SourceError:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise SourceUnreachable(f"{self._endpoint.name} did not answer {method} in {self._timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            what = str(error) or type(error).__name__
            raise SourceUnreachable(f"{self._endpoint.name}: {what[:_TEXT_LIMIT]}") from error

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> _Connection:
        self._connection = _Connection(self._endpoint, self._login.pair(), self._timeout)
        return self._connection

    def _once(self, connection: _Connection, method: str, params: tuple[object, ...]) -> Any:
        scheme = "http" if self._endpoint.tls is None else "https"
        # User and password stand in the connection: the library neither unquotes nor hides those of a URL.
        url = f"{scheme}://x:x@{self._endpoint.name}{self._endpoint.path}"
        proxy = AuthServiceProxy(url, method, timeout=self._timeout, connection=connection)
        try:
            return proxy(*params)
        except JSONRPCException as error:
            raise self._explained(connection.status, error.error) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            self._raise_for_status(connection.status)
            raise RpcBroken(f"{self._endpoint.name} answered {method} with no JSON-RPC: {_bounded(error)}") from error

    def _explained(self, status: int | None, error: Mapping[str, Any]) -> SourceError:
        self._raise_for_status(status)
        code, message = error.get("code"), error.get("message")
        if type(code) is int and code not in (-342, -343):  # those two are the library's own
            return RpcRefused(code, _bounded(message))
        return RpcBroken(f"{self._endpoint.name} answered with no JSON-RPC: HTTP {status}, {_bounded(message)}")

    def _raise_for_status(self, status: int | None) -> None:
        name = self._endpoint.name
        if status == http.HTTPStatus.UNAUTHORIZED:
            raise RpcLoginRefused(f"{name} refuses the user and password (or cookie) it was given")
        if status == http.HTTPStatus.FORBIDDEN:
            raise RpcForbidden(f"{name} forbids this: check rpcallowip and rpcwhitelist on the node")
        if status == http.HTTPStatus.SERVICE_UNAVAILABLE:
            raise SourceUnreachable(f"{name} is too busy: its work queue is full (rpcworkqueue)")


def _bounded(what: object) -> str:
    """A peer's words, fit for a log line: printable, one line, short."""
    return "".join(c if c.isprintable() else "?" for c in str(what))[:_TEXT_LIMIT]
