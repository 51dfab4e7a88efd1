"""GET, as a meter on the local network is asked: one deadline for everything, a bounded answer, no redirects.

A time-out for each recv would let a meter that sends a byte now and then hold a thread for days; here the time that is
left is counted before every read. No message made here repeats a path or a password: a meter's path may hold one.
"""

from __future__ import annotations

import io
import secrets
import socket
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from miner.power.digest import Challenge, Login
from miner.power.errors import Nonsense, Unreadable
from miner.power.reading import ANSWER_MAX, decoded

_HEADERS_MAX = 1 << 14  # bytes, beside the answer itself


class Web:
    """One host that answers in JSON. Each call is a connection of its own: meters serve a handful at most."""

    def __init__(self, who: str, host: str, port: int, login: Login | None) -> None:
        self.who = who
        self._address = host, port
        self._login = login
        self._challenge: Challenge | None = None
        self._count = 0

    def get(self, path: str, deadline: float) -> Any:
        """What it answers, decoded; `deadline` on the monotonic clock. Raises Unreadable, Nonsense."""
        status, asked, content = self._exchange(path, deadline, self._proof(path))
        if status == 401:
            if self._login is None:
                raise Unreadable(f"{self.who} asks for a password: give it a password_file")
            self._challenge, self._count = Challenge.parse(asked or ""), 0
            status, _, content = self._exchange(path, deadline, self._proof(path))
            if status == 401:
                self._challenge = None
                raise Unreadable(f"{self.who} does not take the password in its password_file")
        if status != 200:
            raise Nonsense(f"{self.who} answers with status {status}; is it what its kind says?")
        return decoded(content, self.who)

    def _proof(self, path: str) -> str | None:
        if self._challenge is None or self._login is None:
            return None
        self._count += 1
        return self._challenge.answer(self._login, path, count=self._count, cnonce=secrets.token_hex(16))

    def _exchange(self, path: str, deadline: float, proof: str | None) -> tuple[int, str | None, bytes]:
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        lines = [f"GET {path} HTTP/1.1", f"Host: {shown}:{port}", "Accept: application/json", "Connection: close"]
        lines += [f"Authorization: {proof}"] if proof else []
        try:
            with socket.create_connection(self._address, timeout=_left(deadline)) as connection:
                connection.settimeout(_left(deadline))
                connection.sendall("\r\n".join([*lines, "", ""]).encode())
                # HTTPResponse asks its socket for nothing but a file to read from.
                response = HTTPResponse(cast("socket.socket", _Answer(connection, deadline)))
                response.begin()
                return response.status, response.getheader("WWW-Authenticate"), response.read(ANSWER_MAX + 1)
        except TimeoutError as error:
            raise Unreadable(f"{self.who} does not answer in time") from error
        except OSError as error:
            raise Unreadable(f"{self.who} cannot be reached: {error.strerror or error}") from error
        except (HTTPException, ValueError) as error:
            raise Nonsense(f"{self.who} does not answer in HTTP") from error


class _Answer(io.RawIOBase):
    """A connection's bytes until the deadline, and no more of them than an answer has."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._room = ANSWER_MAX + _HEADERS_MAX

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - a socket's
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(_left(self._deadline))
        size = self._connection.recv_into(buffer)
        self._room -= size
        if self._room < 0:
            raise ValueError("the answer has no end")
        return size


def _left(deadline: float, clock: Callable[[], float] = time.monotonic) -> float:
    left = deadline - clock()
    if left <= 0:
        raise TimeoutError
    return left
