"""One deadline for everything, whatever the other side does."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from miner.power.digest import Login
from miner.power.errors import Nonsense, PowerError, Unreadable
from miner.power.reading import ANSWER_MAX, decoded
from miner.power.web import Web

from .conftest import MeterServer

Serve = Callable[..., MeterServer]
ServeRaw = Callable[[Callable[[socket.socket, threading.Event], None]], int]


def web(port: int, login: Login | None = None) -> Web:
    return Web("desk", "127.0.0.1", port, login)


def soon(seconds: float = 20.0) -> float:
    return time.monotonic() + seconds


def test_json_comes_back_decoded(serve: Serve) -> None:
    server = serve({"/status": {"power": 5}})
    assert web(server.port).get("/status", soon()) == {"power": 5}


def test_a_name_in_a_foreign_encoding_does_not_cost_the_reading() -> None:
    assert decoded(b'{"name": "K\xfcche", "apower": 5}', "desk") == {"name": "K\ufffdche", "apower": 5}


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_a_password_is_proven_as_the_meter_asks_and_once_for_many_readings(serve: Serve, kind: str) -> None:
    server = serve({"/status": 1}, login=(kind, "admin", "hunter22"))
    asking = web(server.port, Login("admin", "hunter22"))
    assert [asking.get("/status", soon()) for _ in range(3)] == [1, 1, 1]
    assert server.refused == 1


@pytest.mark.parametrize("kind", ["basic", "digest"])
@pytest.mark.parametrize("login", [None, Login("admin", "wrong1234")])
def test_a_password_that_is_missing_or_wrong_is_said_without_it(serve: Serve, kind: str, login: Login | None) -> None:
    server = serve({"/status": 1}, login=(kind, "admin", "hunter22"))
    with pytest.raises(Unreadable, match="password") as caught:
        web(server.port, login).get("/status", soon())
    assert "wrong1234" not in str(caught.value)


def test_a_path_that_holds_a_secret_is_in_no_message(serve: Serve) -> None:
    server = serve({})
    with pytest.raises(PowerError, match="status 404") as caught:
        web(server.port).get("/cm?password=hunter22", soon())
    assert "hunter22" not in str(caught.value)


def test_nobody_there_is_said(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unreadable, match="cannot be reached: Connection refused"):
        web(port).get("/", soon())


def drip(head: bytes, body: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """A peer that sends a byte now and then for ever: each recv is quick, the whole never ends."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(head)
        while not over.wait(0.02):
            connection.sendall(body)

    return talk


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"", b""),
        (b"H", b"T"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b" "),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n", b"1"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n1\r\n"),
    ],
    ids=["silent", "status", "header", "endless", "length", "chunks"],
)
def test_a_meter_that_drips_is_left_at_the_deadline(serve_raw: ServeRaw, head: bytes, body: bytes) -> None:
    port = serve_raw(drip(head, body))
    began = time.monotonic()
    with pytest.raises(Unreadable, match="in time"):
        web(port).get("/", began + 0.3)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\xff" * 100,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"[" * 60_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * (ANSWER_MAX + 10),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"1" * 4 * ANSWER_MAX,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n1",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n1",
        b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\n\r\n",
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Magic\r\n\r\n",
    ],
)
def test_nonsense_is_nonsense_and_bounded(serve_raw: ServeRaw, answer: bytes) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    port = serve_raw(talk)
    with pytest.raises((Nonsense, Unreadable)):
        web(port, Login("admin", "hunter22")).get("/", soon())
