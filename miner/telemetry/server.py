"""`--metrics HOST:PORT`: the scrape endpoint, in a thread of its own, out of the way of hashing.

prometheus_client's own WSGI application answers GET /metrics (text or OpenMetrics, as the scraper asks); every other
path is unknown. A scrape reads the latest snapshot and nothing else. Requests are bounded in number and in time, so
that a peer that never finishes its request costs one thread for a few seconds.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:  # exists in type stubs only
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PATH = "/metrics"
REQUESTS_AT_ONCE = 8
REQUEST_S = 10.0  # from accept to the last byte of the answer, Prometheus's own default

_REASONS = {
    errno.EADDRINUSE: "another program has that port; choose another",
    errno.EACCES: "ports below 1024 need privileges; choose a higher one",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}

log = structlog.get_logger(__name__)


class TelemetryError(Exception):
    """Telemetry cannot be offered as configured; the message is for the operator."""


class MetricsServer:
    """Serves a registry from construction until close()."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry, request_s: float = REQUEST_S) -> None:
        """Bind exactly `host` (a name, an IPv4 or an IPv6 address) and serve; port 0 takes a free one.

        Raises TelemetryError when that address cannot be bound.
        """
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, address, request_s)
        except OSError as error:
            reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
            raise TelemetryError(f"metrics cannot be served on {_joined(host, port)}: {reason}") from error
        self._server.set_app(_application(registry))
        self.host, self.port = str(self._server.server_address[0]), int(self._server.server_address[1])
        if not ipaddress.ip_address(self.host.partition("%")[0]).is_loopback:
            log.warning("metrics_public", address=_joined(self.host, self.port), hint="anyone who reaches it can read")
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()
        log.info("metrics_serving", url=self.url)

    @property
    def url(self) -> str:
        """What goes into a browser or into Prometheus's configuration."""
        return f"http://{_joined(self.host, self.port)}{PATH}"

    def close(self) -> None:
        """Stop accepting, cut what is still open, free the port. Idempotent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.cut(before=float("inf"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingMixIn, WSGIServer):
    """A thread per request, a few at a time, each with a deadline."""

    daemon_threads = True

    def __init__(self, family: socket.AddressFamily, address: Any, request_s: float) -> None:
        self.address_family = family
        self._request_s = request_s
        self._started: dict[socket.socket, float] = {}  # one dict operation at a time: safe between threads
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """As HTTPServer does, but without asking a name server who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's hooks
        return len(self._started) < REQUESTS_AT_ONCE

    def process_request(self, request: Any, client_address: Any) -> None:
        self._started[request] = time.monotonic()
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._started.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Called twice a second by serve_forever."""
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


def _application(registry: CollectorRegistry) -> WSGIApplication:
    metrics: WSGIApplication = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"The metrics are at {PATH}\n".encode()]
        try:
            return metrics(environ, start_response)
        except Exception:
            log.exception("metrics_scrape_failed")
            start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
            return [b"The metrics could not be rendered; the log says why.\n"]

    return answer


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
