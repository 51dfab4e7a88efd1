from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.node import rpc as module
from miner.sources.node.rpc import (
    Cookie,
    Endpoint,
    Password,
    Rpc,
    RpcBroken,
    RpcForbidden,
    RpcLoginRefused,
    RpcRefused,
)
from tests.virtual import node as virtual
from tests.virtual.node import Fault, VirtualNode

INFO = "getblockchaininfo"
QUICK_S = 0.3


@pytest.fixture
def node() -> Iterator[VirtualNode]:
    with VirtualNode() as node:
        yield node


@pytest.fixture
def rpc(node: VirtualNode) -> Iterator[Rpc]:
    rpc = Rpc(Endpoint("127.0.0.1", node.port), Password(*node.login), QUICK_S)
    yield rpc
    rpc.close()


def test_a_result_arrives_as_it_is(node: VirtualNode, rpc: Rpc) -> None:
    assert rpc.call(INFO)["chain"] == "regtest"
    assert rpc.call("submitblock", "00") == "undecodable"


def test_one_connection_serves_many_calls(node: VirtualNode, rpc: Rpc) -> None:
    for _ in range(5):
        rpc.call(INFO)
    assert node.connections == 1


def test_an_error_of_the_node_keeps_code_and_words_and_the_connection(node: VirtualNode, rpc: Rpc) -> None:
    with pytest.raises(RpcRefused, match="segwit rule set") as refusal:
        rpc.call("getblocktemplate", {})
    assert (refusal.value.code, refusal.value.message[:16]) == (-8, "getblocktemplate")
    rpc.call(INFO)
    assert node.connections == 1


@pytest.mark.parametrize("http", [200, 400, 404, 500])
def test_an_error_in_the_body_counts_whatever_the_status(node: VirtualNode, rpc: Rpc, http: int) -> None:
    node.on(INFO, virtual.error(-28, "Loading block index", http))
    with pytest.raises(RpcRefused, match="Loading") as refusal:
        rpc.call(INFO)
    assert refusal.value.code == -28


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", "Application/JSON"])
def test_the_body_decides_and_not_its_content_type(node: VirtualNode, rpc: Rpc, content_type: str) -> None:
    node.on(INFO, virtual.body(b'{"result": 5, "error": null, "id": 1}', content_type))
    assert rpc.call(INFO) == 5


def test_an_answer_without_an_error_key_is_one_of_json_rpc_2(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.body(b'{"jsonrpc": "2.0", "result": [], "id": 1}'))
    assert rpc.call(INFO) == []


def test_fractions_are_decimals(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.body(b'{"result": 0.1, "error": null}'))
    assert rpc.call(INFO) == Decimal("0.1")


# ---- the login


@pytest.mark.parametrize("password", ["p@ss/w#rd%1:x?&", "p\u00e4ss \u20bf", "%41", "", '"\\'])
def test_user_and_password_may_hold_any_character(password: str) -> None:
    with VirtualNode(login=("m/i@n#er", password)) as node:
        rpc = Rpc(Endpoint("127.0.0.1", node.port), Password(*node.login), QUICK_S)
        assert rpc.call(INFO)["blocks"] == 0
        rpc.close()


def test_a_wrong_password_is_refused_once(node: VirtualNode) -> None:
    rpc = Rpc(Endpoint("127.0.0.1", node.port), Password("user", "wrong"), QUICK_S)
    with pytest.raises(RpcLoginRefused, match="refuses the user and password") as refusal:
        rpc.call(INFO)
    assert not refusal.value.renews
    assert node.count(INFO) == 1


def test_a_cookie_is_read_again_after_a_401(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    with VirtualNode(cookie=cookie) as node:
        rpc = Rpc(Endpoint("127.0.0.1", node.port), Cookie(cookie), QUICK_S)
        rpc.call(INFO)
        node.login = ("__cookie__", "new")  # the same listener: a 401 and not a reset
        cookie.write_text("__cookie__:new\n")
        assert rpc.call(INFO)["chain"] == "regtest"
        assert node.logins[-1] == "__cookie__:new"
        rpc.close()


def test_a_node_that_restarted_with_a_new_cookie_is_found_again(tmp_path: Path) -> None:
    cookie = tmp_path / ".cookie"
    with VirtualNode(cookie=cookie) as node:
        rpc = Rpc(Endpoint("127.0.0.1", node.port), Cookie(cookie), QUICK_S)
        rpc.call(INFO)
        node.stop()
        with pytest.raises(SourceUnreachable):
            rpc.call(INFO)
        node.start()
        assert rpc.call(INFO)["chain"] == "regtest"
        rpc.close()


def test_a_cookie_that_does_not_help_is_refused_after_it_was_read_again(tmp_path: Path, node: VirtualNode) -> None:
    cookie = tmp_path / ".cookie"
    cookie.write_text("__cookie__:old")
    with pytest.raises(RpcLoginRefused) as refusal:
        Rpc(Endpoint("127.0.0.1", node.port), Cookie(cookie), QUICK_S).call(INFO)
    assert refusal.value.renews


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe:", b"nocolon"], ids=repr)
def test_no_cookie_yet_is_a_matter_of_time(tmp_path: Path, content: bytes | None) -> None:
    cookie = tmp_path / ".cookie"
    if content is not None:
        cookie.write_bytes(content)
    with pytest.raises(SourceUnreachable, match="cookie") as failure:
        Cookie(cookie).pair()
    assert "nocolon" not in repr(failure.value)


def test_a_cookie_that_may_not_be_read_is_a_matter_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root may read everything
    with pytest.raises(SourceMisconfigured, match="user or group"):
        Cookie(tmp_path / ".cookie").pair()


def test_a_device_file_in_the_place_of_a_cookie_is_read_to_a_limit() -> None:
    with pytest.raises(SourceUnreachable):
        Cookie(Path("/dev/zero")).pair()


# ---- the connection


def test_a_connection_closed_while_idle_is_made_anew(node: VirtualNode, rpc: Rpc) -> None:
    rpc.call(INFO)
    node.drop_idle()
    assert rpc.call(INFO)["chain"] == "regtest"
    assert node.connections == 2


def test_a_kept_connection_is_tried_once_more_and_no_oftener(node: VirtualNode, rpc: Rpc) -> None:
    rpc.call(INFO)
    node.on(INFO, *[virtual.reset_after_request] * 3)
    with pytest.raises(SourceUnreachable):
        rpc.call(INFO)
    assert node.count(INFO) == 3


def test_a_fresh_connection_that_breaks_is_a_failure(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.reset_after_request)
    with pytest.raises(SourceUnreachable):
        rpc.call(INFO)
    assert rpc.call(INFO)["chain"] == "regtest"


def test_a_lost_answer_to_a_block_is_asked_for_again(node: VirtualNode, rpc: Rpc) -> None:
    block = virtual.block_on(node._in_engine(lambda: node._judge.tip))
    rpc.call(INFO)
    node.on("submitblock", virtual.reset_after_doing_it)
    assert rpc.call("submitblock", block.hex()) == "duplicate"


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(SourceUnreachable, match=f"127.0.0.1:{port}"):
        Rpc(Endpoint("127.0.0.1", port), Password("a", "b"), QUICK_S).call(INFO)


def test_after_a_time_out_the_next_call_has_a_new_connection(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.silence)
    with pytest.raises(SourceUnreachable, match=r"did not answer getblockchaininfo in 0\.3 s"):
        rpc.call(INFO)
    assert rpc.call(INFO)["chain"] == "regtest"


@pytest.mark.parametrize("fault", [virtual.silence, virtual.silence_after_head, virtual.drip])
def test_an_answer_is_awaited_for_the_time_out_and_not_longer(node: VirtualNode, rpc: Rpc, fault: Fault) -> None:
    node.on(INFO, fault)
    began = time.monotonic()
    with pytest.raises(SourceUnreachable, match="did not answer"):
        rpc.call(INFO)
    assert time.monotonic() - began < 10 * QUICK_S


def test_a_slow_answer_does_not_shorten_the_time_of_the_next(node: VirtualNode, rpc: Rpc) -> None:
    def slow(call: virtual.Call) -> None:
        time.sleep(0.6 * QUICK_S)
        call.honestly()

    node.always(INFO, slow)
    for _ in range(3):
        rpc.call(INFO)
    assert node.connections == 1


def test_a_patient_call_outlasts_the_time_out(node: VirtualNode, rpc: Rpc) -> None:
    threading.Timer(2 * QUICK_S, node.touch).start()
    request = {"rules": ["segwit"], "longpollid": node.template()["longpollid"]}
    assert rpc.wait("getblocktemplate", request)["height"] == 1


def test_a_patient_call_can_be_ended_from_another_thread(node: VirtualNode, rpc: Rpc) -> None:
    rpc.call(INFO)
    request = {"rules": ["segwit"], "longpollid": node.template()["longpollid"]}
    failures: list[SourceError] = []

    def wait() -> None:
        try:
            rpc.wait("getblocktemplate", request)
        except SourceError as error:
            failures.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    _until(lambda: node.count("longpoll") == 1)
    rpc.hang_up()
    thread.join(5)
    assert isinstance(failures[0], SourceUnreachable)
    assert node.count("longpoll") == 1  # not taken for a connection that had been idle too long
    assert rpc.call(INFO)["chain"] == "regtest"


# ---- what must not be believed


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (virtual.status(403), RpcForbidden),
        (virtual.status(503, b"Work queue depth exceeded"), SourceUnreachable),
        (virtual.status(503, b'{"result": 1, "error": null}'), SourceUnreachable),
        (virtual.status(500), RpcBroken),
        (virtual.status(404, b"<html>"), RpcBroken),
        (virtual.status(302), RpcBroken),
        (virtual.body(b"<html></html>", "text/html"), RpcBroken),
        (virtual.body(b""), RpcBroken),
        (virtual.body(b"[]"), RpcBroken),
        (virtual.body(b"null"), RpcBroken),
        (virtual.body(b"{}"), RpcBroken),
        (virtual.body(b'{"result": NaN, "error": null}'), RpcBroken),
        (virtual.body(b'{"result": -Infinity, "error": null}'), RpcBroken),
        (virtual.body(b'{"result": ' + b"9" * 5000 + b"}"), RpcBroken),
        (virtual.body(b'{"result": ' + b"[" * 100_000 + b"}"), RpcBroken),
        (virtual.body(b'{"result": "\xff"}'), RpcBroken),
        (virtual.body(b'{"error": "no"}'), RpcBroken),
        (virtual.body(b'{"error": ["code"]}'), RpcBroken),
        (virtual.body(b'{"error": 5, "result": 5}'), RpcBroken),
        (virtual.body(b'{"error": {}}'), RpcBroken),
        (virtual.error("-8"), RpcBroken),
        (virtual.error(True), RpcBroken),
        (virtual.error(10**30), RpcBroken),
        (virtual.error(-8, None), RpcBroken),
        (virtual.error(-8, {"a": 1}), RpcBroken),
        (virtual.reset_after_request, SourceUnreachable),
        (virtual.reset_after_head, SourceUnreachable),
        (virtual.reset_in_body, SourceUnreachable),
        (virtual.end_in_body, SourceUnreachable),
        (virtual.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), SourceUnreachable),
        (virtual.raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 500), SourceUnreachable),
        (virtual.raw(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000), SourceUnreachable),
        (virtual.chunks(b"zz"), SourceUnreachable),
        (virtual.chunks(b"-5"), SourceError),
        (virtual.chunks(b"fffffffffffffff"), SourceUnreachable),
    ],
)
def test_each_way_to_answer_wrongly_is_an_error_of_its_kind_and_the_next_call_works(
    node: VirtualNode, rpc: Rpc, fault: Fault, kind: type[SourceError]
) -> None:
    node.on(INFO, fault)
    with pytest.raises(kind) as failure:
        rpc.call(INFO)
    assert "password" not in str(failure.value).replace("user and password", "")
    assert len(str(failure.value)) < 1000
    assert rpc.call(INFO)["chain"] == "regtest"


def test_a_connection_reset_before_the_request_is_read(node: VirtualNode, rpc: Rpc) -> None:
    node.reset_before_reading(1)
    with pytest.raises(SourceUnreachable):
        rpc.call(INFO)
    assert rpc.call(INFO)["chain"] == "regtest"


@pytest.mark.parametrize("fault", [virtual.flood, virtual.announce("999999999999"), virtual.announce("9" * 30)])
def test_an_answer_without_end_costs_little_memory(
    node: VirtualNode, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(module, "ANSWER_LIMIT", 4 << 20)
    rpc = Rpc(Endpoint("127.0.0.1", node.port), Password(*node.login), 30)
    node.on(INFO, fault)
    with pytest.raises(RpcBroken, match="larger than 4 MiB"):
        rpc.call(INFO)
    rpc.close()


def test_an_answer_of_countless_values_is_not_unpacked(node: VirtualNode) -> None:
    rpc = Rpc(Endpoint("127.0.0.1", node.port), Password(*node.login), 30)
    node.on(INFO, virtual.body(b'{"error": null, "result": [' + b"[]," * 1_100_000 + b"[]]}"))
    with pytest.raises(RpcBroken, match="values"):
        rpc.call(INFO)
    rpc.close()


def test_an_endless_head_is_cut_off(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000))
    with pytest.raises(SourceUnreachable):
        rpc.call(INFO)


def test_control_characters_of_a_peer_do_not_reach_a_log(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.error(-1, "\x1b[2J\nforged line" + "x" * 10_000))
    with pytest.raises(RpcRefused) as refusal:
        rpc.call(INFO)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


def test_no_secret_shows() -> None:
    login = Password("user", "secret")
    rpc = Rpc(Endpoint("127.0.0.1", 1), login, QUICK_S)
    with pytest.raises(SourceUnreachable) as failure:
        rpc.call(INFO)
    for text in (repr(login), repr(rpc), str(failure.value), repr(failure.value.__cause__)):
        assert "secret" not in text


def test_an_ipv6_address_is_named_as_in_a_url() -> None:
    assert Endpoint("::1", 8332).name == "[::1]:8332"
    assert Endpoint("node.example", 8332).name == "node.example:8332"


def test_the_request_is_one_that_nodes_understand(node: VirtualNode, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[tuple[str, bytes]] = []
    handle = node._handle

    def listen(connection: socket.socket, head: str, body: bytes) -> None:
        heads.append((head, body))
        handle(connection, head, body)

    monkeypatch.setattr(node, "_handle", listen)
    rpc = Rpc(Endpoint("127.0.0.1", node.port), Password(*node.login), QUICK_S)
    rpc.call("submitblock", "00")
    rpc.close()
    head, body = heads[0]
    request: dict[str, Any] = json.loads(body)
    assert head.startswith("POST / HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{node.port}" in head
    assert head.count("Authorization:") == 1
    assert (request["method"], request["params"]) == ("submitblock", ["00"])


def test_every_answer_is_a_source_error(node: VirtualNode, rpc: Rpc) -> None:
    node.on(INFO, virtual.body(b'{"error": {"code": -5, "message": "x"}, "result": null}'))
    with pytest.raises(SourceError):
        rpc.call(INFO)
    assert issubclass(RpcBroken, SourceMisbehaved)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
