from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from miner.telemetry.guard import Access, Login, TelemetryError, tls_context
from miner.telemetry.metrics import registry
from miner.telemetry.server import FRESH_S, REQUESTS_AT_ONCE, MetricsServer
from miner.telemetry.snapshot import Snapshot
from tests.telemetry.snapshots import snapshot


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer("127.0.0.1", 0, registry(snapshot)) as running:
        yield running


def get(server: MetricsServer, path: str = "/metrics", **headers: str) -> tuple[int, str, bytes]:
    with contextlib.closing(http.client.HTTPConnection(server.host, server.port, timeout=10)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()


def ends(connection: socket.socket) -> bool:
    """Whether the other side hangs up without an answer."""
    connection.settimeout(10)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_scrape_gets_the_snapshot(server: MetricsServer) -> None:
    status, kind, body = get(server)
    assert status == 200 and kind.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["miner_hashes"].samples[0].value == 583_000_000
    assert server.url == f"http://127.0.0.1:{server.port}/metrics"


def test_the_scraper_chooses_format_and_compression(server: MetricsServer) -> None:
    _, kind, body = get(server, Accept="application/openmetrics-text;version=1.0.0", **{"Accept-Encoding": "gzip"})
    assert kind.startswith("application/openmetrics-text")
    assert gzip.decompress(body).endswith(b"# EOF\n")


@pytest.mark.parametrize("path", ["/", "/metrics/../etc/passwd", "/favicon.ico"])
def test_only_the_metrics_are_served(server: MetricsServer, path: str) -> None:
    assert get(server, path)[0] == 404


@pytest.mark.parametrize("path", ["/metrics", "/"])
def test_head_gets_the_headers_of_a_get_and_no_body(server: MetricsServer, path: str) -> None:
    _, kind, _ = get(server, path)
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(f"HEAD {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            head, _, rest = answer.read().partition(b"\r\n\r\n")
    assert f"Content-Type: {kind}\r\n" in head.decode() + "\r\n"
    length = re.search(r"Content-Length: (\d+)\r\n", head.decode() + "\r\n")
    assert length is not None and int(length[1]) > 0  # of what a GET at that moment would have brought
    assert rest == b""


def test_ipv6_literals_are_bound() -> None:
    with MetricsServer("::1", 0, CollectorRegistry()) as server:
        assert server.url == f"http://[::1]:{server.port}/metrics"
        assert get(server)[0] == 200


def test_a_port_in_use_is_a_sentence(server: MetricsServer) -> None:
    with pytest.raises(TelemetryError, match=rf"127\.0\.0\.1:{server.port}: another program has that port"):
        MetricsServer("127.0.0.1", server.port, CollectorRegistry())


def test_an_address_of_another_machine_is_a_sentence() -> None:
    with pytest.raises(TelemetryError, match="this machine has no such address"):
        MetricsServer("192.0.2.1", 0, CollectorRegistry())


@pytest.mark.parametrize(("host", "warnings"), [("127.0.0.1", 0), ("::1", 0), ("0.0.0.0", 1), ("::", 1)])
def test_listening_to_other_machines_is_warned_of(host: str, warnings: int) -> None:
    with capture_logs() as logs, MetricsServer(host, 0, CollectorRegistry()):
        pass
    assert [(entry["event"], entry["log_level"]) for entry in logs].count(("metrics_public", "warning")) == warnings


def test_a_scrape_that_fails_is_logged_and_the_next_one_works() -> None:
    answers = iter([None, snapshot()])

    def latest() -> Snapshot:
        view = next(answers)
        if view is None:
            raise RuntimeError("no snapshot yet")
        return view

    with capture_logs() as logs, MetricsServer("127.0.0.1", 0, registry(latest)) as server:
        assert get(server)[0] == 500
        assert get(server)[0] == 200
    assert any(entry["event"] == "metrics_scrape_failed" for entry in logs)


def test_a_request_that_never_ends_is_cut_off() -> None:
    with (
        MetricsServer("127.0.0.1", 0, CollectorRegistry(), request_s=0.1) as server,
        socket.create_connection((server.host, server.port)) as slow,
    ):
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert ends(slow)


def test_too_many_at_once_are_turned_away_and_those_before_still_answered(server: MetricsServer) -> None:
    with contextlib.ExitStack() as held:
        waiting = [
            held.enter_context(socket.create_connection((server.host, server.port))) for _ in range(REQUESTS_AT_ONCE)
        ]
        assert ends(held.enter_context(socket.create_connection((server.host, server.port))))
        waiting[0].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        waiting[0].settimeout(10)
        assert waiting[0].recv(12) == b"HTTP/1.0 200"


def test_a_request_that_is_done_makes_room_for_another(server: MetricsServer) -> None:
    assert [get(server)[0] for _ in range(2 * REQUESTS_AT_ONCE)] == [200] * 2 * REQUESTS_AT_ONCE


def test_closing_frees_port_and_thread_even_with_a_request_open() -> None:
    server = MetricsServer("127.0.0.1", 0, CollectorRegistry())
    with socket.create_connection((server.host, server.port)) as idle:
        deadline = time.monotonic() + 10
        while not server._server._started and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        server.close()
        assert ends(idle)
    server.close()
    assert not any(thread.name == "metrics" for thread in threading.enumerate())
    with MetricsServer("127.0.0.1", server.port, CollectorRegistry()):
        pass


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1, its key, and a client's context that trusts it."""
    folder = tmp_path_factory.mktemp("certificate")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    cert, key = folder / "metrics.pem", folder / "metrics.key"
    for number, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(str(cert), append=number > 0)
    issued.private_key_pem.write_to_path(str(key))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return cert, key, trust


LOGIN = Login("prometheus", "s3cret: with colons")


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic",
        "Basic !!!",
        "Bearer " + basic(LOGIN.user, LOGIN.password)[6:],
        basic("prometheus", "s3cret"),
        basic("other", LOGIN.password),
        basic("prometheus:s3cret", " with colons") + "x",
    ],
)
def test_whoever_does_not_know_the_password_is_refused_before_anything_is_rendered(authorization: str) -> None:
    def unread() -> Snapshot:
        raise AssertionError("rendered for a stranger")

    with MetricsServer("127.0.0.1", 0, registry(unread), access=Access(LOGIN)) as server:
        status, _, body = get(server, Authorization=authorization)
    assert status == 401
    assert LOGIN.password.encode() not in body


def test_whoever_knows_the_password_scrapes() -> None:
    with MetricsServer("127.0.0.1", 0, registry(snapshot), access=Access(LOGIN)) as server:
        assert get(server, Authorization=basic(LOGIN.user, LOGIN.password))[0] == 200
        assert get(server, Authorization=basic(LOGIN.user, LOGIN.password).replace("Basic", "basic"))[0] == 200


def test_the_password_is_in_no_log_and_in_no_representation() -> None:
    with capture_logs() as logs, MetricsServer("127.0.0.1", 0, registry(snapshot), access=Access(LOGIN)) as server:
        get(server, Authorization=basic(LOGIN.user, "wrong"))
    assert LOGIN.password not in repr(logs) + repr(LOGIN) + repr(Access(LOGIN))
    assert "wrong" not in repr(logs)


def test_with_a_certificate_the_metrics_travel_over_tls(certificate: tuple[Path, Path, ssl.SSLContext]) -> None:
    cert, key, trust = certificate
    with MetricsServer("127.0.0.1", 0, registry(snapshot), access=Access(tls=tls_context(cert, key))) as server:
        assert server.url == f"https://127.0.0.1:{server.port}/metrics"
        with contextlib.closing(http.client.HTTPSConnection(server.host, server.port, context=trust)) as connection:
            connection.request("GET", "/metrics")
            assert b"miner_hashes_total" in connection.getresponse().read()
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            get(server)


def test_a_handshake_that_never_comes_is_cut_off_and_hinders_nobody(
    certificate: tuple[Path, Path, ssl.SSLContext],
) -> None:
    cert, key, trust = certificate
    access = Access(tls=tls_context(cert, key))
    with (
        MetricsServer("127.0.0.1", 0, registry(snapshot), request_s=2.0, access=access) as server,
        socket.create_connection((server.host, server.port)) as silent,
    ):
        with contextlib.closing(http.client.HTTPSConnection(server.host, server.port, context=trust)) as connection:
            connection.request("GET", "/metrics")
            assert connection.getresponse().status == 200
        assert ends(silent)


def test_a_key_of_another_certificate_is_a_sentence(
    certificate: tuple[Path, Path, ssl.SSLContext], tmp_path: Path
) -> None:
    cert, _, _ = certificate
    trustme.CA().issue_cert("127.0.0.1").private_key_pem.write_to_path(str(tmp_path / "key"))
    for key in (tmp_path / "key", tmp_path / "none"):
        with pytest.raises(TelemetryError, match=r"metrics\.pem and .*: \w"):
            tls_context(cert, key)


@pytest.mark.parametrize(("login", "event"), [(None, "public"), (LOGIN, "password_in_clear")])
def test_what_other_machines_could_read_is_warned_of(login: Login | None, event: str) -> None:
    with capture_logs() as logs, MetricsServer("0.0.0.0", 0, CollectorRegistry(), access=Access(login)):
        pass
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == [f"metrics_{event}"]


def test_with_a_password_and_a_certificate_there_is_nothing_to_warn_of(
    certificate: tuple[Path, Path, ssl.SSLContext],
) -> None:
    access = Access(LOGIN, tls_context(*certificate[:2]))
    with capture_logs() as logs, MetricsServer("0.0.0.0", 0, CollectorRegistry(), access=access):
        pass
    assert not [entry for entry in logs if entry["log_level"] == "warning"]


def test_a_flood_of_equal_scrapes_is_rendered_once_in_a_while() -> None:
    rendered = []

    def counted() -> Snapshot:
        rendered.append(time.monotonic())
        return snapshot()

    begun = time.monotonic()
    with MetricsServer("127.0.0.1", 0, registry(counted)) as server:
        answers = [get(server) for _ in range(50)]
    assert len(rendered) <= 1 + (time.monotonic() - begun) / FRESH_S
    assert all(status == 200 for status, _, _ in answers)
