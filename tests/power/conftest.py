"""In-process meters on 127.0.0.1: a small web server that knows both kinds of login, and one that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

REALM, NONCE = "shellypro-1", "1763787600"


class MeterServer:
    """Answers paths with JSON. `login`: None, or ("basic" or "digest", user, password)."""

    def __init__(self, pages: dict[str, Any], login: tuple[str, str, str] | None = None) -> None:
        self.pages = pages
        self.login = login
        self.asked: list[str] = []
        self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if self.path != "/shelly" and not outer.admits(self.headers["Authorization"], self.path):
                    outer.refused += 1
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", outer.challenge())
                    self.end_headers()
                    return
                page = outer.pages.get(self.path)
                body = page if isinstance(page, bytes) else json.dumps(page).encode()
                self.send_response(404 if page is None else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def challenge(self) -> str:
        assert self.login is not None
        if self.login[0] == "basic":
            return 'Basic realm="shellyplug"'
        return f'Digest qop="auth", realm="{REALM}", nonce="{NONCE}", algorithm=SHA-256'

    def admits(self, given: str | None, path: str) -> bool:
        """By RFC 7616, written anew here: what the miner computes is not asked."""
        if self.login is None:
            return True
        kind, user, password = self.login
        if kind == "basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        said = dict(re.findall(r'(\w+)="?([^",]+)"?', given or ""))

        def digest(text: str) -> str:
            return hashlib.sha256(text.encode()).hexdigest()

        wanted = digest(
            f"{digest(f'{user}:{REALM}:{password}')}:{NONCE}:{said.get('nc')}:{said.get('cnonce')}:auth:"
            f"{digest(f'GET:{path}')}"
        )
        return said.get("response") == wanted and said.get("username") == user


@pytest.fixture
def serve() -> Iterator[Callable[..., MeterServer]]:
    with ExitStack() as servers:

        def start(pages: dict[str, Any], login: tuple[str, str, str] | None = None) -> MeterServer:
            server = MeterServer(pages, login)
            servers.callback(server.close)
            return server

        yield start


@pytest.fixture
def serve_raw() -> Iterator[Callable[[Callable[[socket.socket, threading.Event], None]], int]]:
    """Listen, and let a function of the test's talk to each connection until `over`; the port."""
    over = threading.Event()
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(talk: Callable[[socket.socket, threading.Event], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0.02)

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    try:
                        talk(connection, over)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=accept))
        threads[-1].start()
        listeners.append(listener)
        return int(listener.getsockname()[1])

    yield start
    over.set()
    for thread in threads:
        thread.join()
    for listener in listeners:
        listener.close()
