"""`--metrics HOST:PORT`: the scrape endpoint, in a thread of its own, out of the way of hashing.

GET /metrics is answered, as text or OpenMetrics as the scraper asks; every other path is unknown. A scrape reads the
latest snapshot and nothing else. Requests are bounded in number and in time, so that a peer that never finishes its
request, or its TLS handshake, costs one thread for a few seconds. Metrics are rendered one request at a time, and a
flood of equal requests is answered with one rendering.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry

from .exposition import exposition
from .guard import Access, Login, TelemetryError

if TYPE_CHECKING:  # exists in type stubs only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/metrics"
REQUESTS_AT_ONCE = 8
REQUEST_S = 10.0  # from accept to the last byte of the answer, Prometheus's own default
FRESH_S = 0.25  # how long a rendering may be handed out again; snapshots are made once a second
RENDERINGS = 8  # kept, of different requests
_LOOK_S = 0.1  # how soon a close is noticed, and a request past its deadline

_DECIDING = ("QUERY_STRING", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING")  # what an answer depends on
_REASONS = {
    errno.EADDRINUSE: "another program has that port; choose another",
    errno.EACCES: "ports below 1024 need privileges; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}

log = structlog.get_logger(__name__)


class MetricsServer:
    """Serves a registry from construction until close()."""

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        request_s: float = REQUEST_S,
        access: Access | None = None,
    ) -> None:
        """Bind exactly `host` (a name, an IPv4 or an IPv6 address) and serve; port 0 takes a free one.

        `access`: who may read; None: whoever reaches it.

        Raises TelemetryError when that address cannot be bound.
        """
        access = access or Access()
        self._scheme = "https" if access.tls else "http"
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, address, request_s, access.tls)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise TelemetryError(f"metrics cannot be served on {_joined(host, port)}: {reason}") from error
        self._server.set_app(_application(registry, access.login))
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        if not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback:
            self._warn(access)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics_serving", url=self.url)

    @property
    def url(self) -> str:
        """What goes into a browser or into Prometheus's configuration."""
        return f"{self._scheme}://{_joined(self.host, self.port)}{PATH}"

    def close(self) -> None:
        """Stop accepting, cut what is still open, free the port. Idempotent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut(before=float("inf"))

    def _warn(self, access: Access) -> None:
        """Of what other machines may see."""
        address = _joined(self.host, self.port)
        if access.login is None:
            log.warning("metrics_public", address=address, hint="anyone who reaches it can read: set metrics_user")
        elif access.tls is None:
            log.warning("metrics_password_in_clear", address=address, hint="set metrics_cert, or listen on 127.0.0.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request, a few at a time, each with a deadline."""

    daemon_threads = True

    def __init__(
        self, family: socket.AddressFamily, address: Any, request_s: float, tls: ssl.SSLContext | None
    ) -> None:
        self.address_family = family
        self._tls = tls
        self._request_s = request_s
        self._started: dict[socket.socket, float] = {}  # one dict operation at a time: safe between threads
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As HTTPServer does, but without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def get_request(self) -> tuple[Any, Any]:
        """Without a handshake, which the request's own thread does at its first read."""
        request, address = super().get_request()
        if self._tls:
            request = self._tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        return request, address

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's hooks
        return len(self._started) < REQUESTS_AT_ONCE

    def process_request(self, request: Any, client_address: Any) -> None:
        self._started[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._started.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called by serve_forever at every look."""
        self.cut(before=time.monotonic() - self._request_s)

    def cut(self, before: float) -> None:
        """End the requests that began before that time: their threads wake up with an end of file or an error."""
        for request, started in list(self._started.items()):
            if started < before:
                with contextlib.suppress(OSError):  # it ended by itself in the meantime
                    request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Called while the exception is being handled. A scraper that went away is no event for a person."""
        log.debug("metrics_request_failed", exc_info=True)  # noqa: LOG014


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        """Scrapes are not logged."""


class _Renderings:
    """The registry rendered, one at a time, and once for all who ask the same within FRESH_S."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, ...], tuple[float, list[tuple[str, str]], bytes]] = {}

    def answer(self, environ: WSGIEnvironment) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body. Raises whatever reading the snapshot raises."""
        asked = tuple(environ.get(name, "") for name in _DECIDING)
        with self._lock:
            kept = self._kept.get(asked)
            if kept is None or time.monotonic() - kept[0] > FRESH_S:
                answer = exposition(self._registry, *asked)
                if len(self._kept) >= RENDERINGS:
                    self._kept.clear()
                kept = self._kept[asked] = (time.monotonic(), *answer)
            return kept[1:]


def _application(registry: CollectorRegistry, login: Login | None) -> WSGIApplication:
    renderings = _Renderings(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def send(status: str, headers: Iterable[tuple[str, str]], body: bytes) -> Iterable[bytes]:
            start_response(status, [*headers, ("Content-Length", str(len(body)))])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]  # RFC 9110, 9.3.2: the headers of a GET

        def plain(status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
            return send(status, [("Content-Type", "text/plain; charset=utf-8"), *headers], f"{text}\n".encode())

        if login and not login.opens(environ.get("HTTP_AUTHORIZATION", "")):
            log.debug("metrics_refused", client=environ.get("REMOTE_ADDR"))
            asked = ("WWW-Authenticate", 'Basic realm="miner", charset="UTF-8"')
            return plain("401 Unauthorized", "The metrics need the user and the password of this miner.", asked)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return plain("405 Method Not Allowed", "The metrics are only read.", ("Allow", "GET, HEAD"))
        if environ["PATH_INFO"] != PATH:
            return plain("404 Not Found", f"The metrics are at {PATH}")
        try:
            headers, body = renderings.answer(environ)
        except Exception:
            log.exception("metrics_scrape_failed")
            return plain("500 Internal Server Error", "The metrics could not be rendered; the log says why.")
        return send("200 OK", headers, body)

    return answer


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
