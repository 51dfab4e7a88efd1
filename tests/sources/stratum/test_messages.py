from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from miner.chain.hashes import display
from miner.sources.stratum import messages
from miner.sources.stratum.errors import BadJob, BadLine, BadMessage
from miner.sources.stratum.job import Circumstances, JobMaker
from miner.sources.stratum.lines import Lines, decode
from miner.sources.stratum.messages import Answer, Complaint, Notify, SetDifficulty
from tests.sources.stratum.talk import notify


def read(vector: dict[str, Any]) -> Any:
    (line,) = Lines().feed(vector["line"].encode() + b"\n")
    return messages.read(decode(line))


def result(vector: dict[str, Any]) -> Any:
    answer = read(vector)
    assert isinstance(answer, Answer)
    return answer


def of(*prefixes: str) -> Any:
    return lambda vector: vector["id"].startswith(prefixes)


@pytest.mark.golden("stratum_v1_messages", where=of("sub-"))
def test_answers_to_subscribe(vector: dict[str, Any]) -> None:
    expect, answer = vector["expect"], result(vector)
    if expect.get("kind") == "error":
        assert (answer.refused, answer.code, answer.text) == (True, expect["code"], expect["message"])
    elif "error" in expect:
        with pytest.raises(BadMessage):
            messages.subscribed(answer.result)
    else:
        got = messages.subscribed(answer.result)
        assert got.session_id == expect["session_id"]
        assert (got.extranonce1.hex(), got.extranonce2_size) == (expect["extranonce1"], expect["extranonce2_size"])


@pytest.mark.golden("stratum_v1_messages", where=of("diff-"))
def test_difficulties(vector: dict[str, Any]) -> None:
    if vector["expect"].get("error"):
        with pytest.raises((BadLine, BadMessage)):
            read(vector)
    else:
        assert read(vector) == SetDifficulty(vector["expect"]["difficulty"])


@pytest.mark.golden("stratum_v1_messages", where=of("ok", "err-", "auth-", "ws"))
def test_answers_of_every_shape(vector: dict[str, Any]) -> None:
    expect, answer = vector["expect"], result(vector)
    assert answer.id == str(expect["id"])
    assert answer.refused is not expect["accepted"]
    assert answer.code == expect.get("code")
    assert answer.text == expect.get("message", "")


@pytest.mark.golden("stratum_v1_messages", where=of("cfg-"))
def test_answers_to_configure(vector: dict[str, Any]) -> None:
    expect, got = vector["expect"], messages.configured(result(vector).result)
    assert got.version_rolling is expect["version_rolling"]
    assert got.mask == int(expect["mask"] or "0", 16)
    assert got.minimum_difficulty is expect.get("minimum_difficulty", False)


@pytest.mark.golden("stratum_v1_messages", where=of("mask", "en", "show", "getver", "ping", "unknown"))
def test_notices(vector: dict[str, Any]) -> None:
    expect = vector["expect"]
    if expect.get("error"):
        with pytest.raises(BadMessage):
            read(vector)
        return
    match read(vector):
        case messages.SetVersionMask(mask):
            assert f"{mask:08x}" == expect["mask"]
        case messages.SetExtranonce(extranonce1, size):
            assert (extranonce1.hex(), size) == (expect["extranonce1"], expect["extranonce2_size"])
        case messages.ShowMessage(text):
            assert text.isprintable()
        case messages.VersionAsked(id_) | messages.Ping(id_):
            assert id_ == expect["id"]
        case messages.Unknown(_, id_):
            assert id_ is None
        case other:
            pytest.fail(repr(other))


@pytest.mark.golden("stratum_v1_messages", where=of("notjson", "array", "scalar", "dup-null"))
def test_what_is_no_message(vector: dict[str, Any]) -> None:
    with pytest.raises((BadLine, BadMessage)):
        read(vector)


@pytest.mark.golden("stratum_v1_messages", where=of("notify"))
def test_jobs(vector: dict[str, Any]) -> None:
    expect = vector["expect"]
    under = Circumstances(b"\0\0\0\0", 4, 1.0, 0)
    if expect.get("error"):
        with pytest.raises((BadMessage, BadJob)):
            JobMaker("pool", 1).make(read(vector), under, 0.0)
        return
    notify = read(vector)
    assert isinstance(notify, Notify)
    assert notify.clean is expect["clean_jobs"]
    made = JobMaker("pool", 1).make(notify, under, 0.0)
    assert made is not None
    assert len(made.job.body.branch) == expect.get("n_branches", 12)
    if "prev_hash" in expect:
        assert display(made.job.prev_hash) == expect["prev_hash"]


def test_text_of_theirs_is_cut_and_harmless() -> None:
    answer = messages.read(json.loads('{"id":1,"error":[20,"\\u001b[2J' + "x" * 5000 + '"]}'))
    assert isinstance(answer, Answer)
    assert answer.text.isprintable()
    assert len(answer.text) < 300


@pytest.mark.parametrize("id_", [None, True, [1], {"a": 1}, 1.5])
def test_an_answer_needs_an_id(id_: object) -> None:
    with pytest.raises(BadMessage):
        messages.read({"id": id_, "result": True})


def test_ids_that_went_through_a_double_or_a_string_are_the_same() -> None:
    assert {messages.read({"id": id_, "result": True}).id for id_ in (7, 7.0, "7")} == {"7"}


NOTHING: list[Any] = [None, False, 0, 0.0, "", [], {}, [None], [0, "", None], {"code": 0, "message": ""}]


@pytest.mark.parametrize("error", NOTHING, ids=repr)
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    answer = messages.read({"id": 4, "result": True, "error": error})
    assert answer == Answer("4", result=True, accepted=True)
    refused = messages.read({"id": 4, "result": False, "error": error})
    assert refused == Answer("4", result=False, accepted=False)


@pytest.mark.parametrize("error", [[21], ["Stale"], {"code": 21}, {"message": "Stale"}, "Stale", 21, [None, "Stale"]])
def test_an_error_that_says_anything_is_one_whatever_the_result(error: object) -> None:
    answer = messages.read({"id": 4, "result": True, "error": error})
    assert isinstance(answer, Answer)
    assert answer.refused
    assert answer.code == 21 or answer.text in ("Stale", "21")


def test_a_list_that_is_null_is_empty() -> None:
    message = read({"line": notify().decode()})
    assert read({"line": notify(branch=None).decode()}) == dataclasses.replace(message, branch_hex=())
    assert messages.subscribed([None, "08000002", 4]).session_id is None
    assert messages.read({"method": "client.reconnect", "params": None}) == messages.ReconnectAsked(())
    for method in ("mining.notify", "mining.set_difficulty", "client.show_message"):
        with pytest.raises(BadMessage, match=r"0 parameters|not a number|no text"):
            messages.read({"method": method, "params": None})


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        ([-3, "Method not found", None], Complaint(-3, "Method not found")),
        ({"code": 20, "message": "Unknown method"}, Complaint(20, "Unknown method")),
        ("go \x1b[2J away", Complaint(None, "go \\x1b[2J away")),
    ],
)
def test_an_error_about_no_request_is_a_complaint(error: object, complaint: Complaint) -> None:
    assert messages.read({"id": None, "result": None, "error": error}) == complaint
    assert messages.read({"error": error}) == complaint
    assert isinstance(messages.read({"id": 0, "error": error}), Answer)


def test_a_reject_reason_about_no_request_is_a_complaint() -> None:
    assert messages.read({"id": None, "result": False, "reject-reason": "Stale"}) == Complaint(None, "Stale")


def test_a_job_id_that_cannot_be_sent_back_makes_no_job() -> None:
    with pytest.raises(BadMessage, match="encoding"):
        messages.read(decode(notify("job-e").replace(b"job-e", b"job-\xe9")))
