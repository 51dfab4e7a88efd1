from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.sources.stratum import messages
from miner.sources.stratum.effects import Ending
from miner.sources.stratum.lines import MAX_LINE
from miner.sources.stratum.protocol import (
    MAX_BAD_LINES,
    Asked,
    Ended,
    Event,
    Ignored,
    Joined,
    Manner,
    MaskGranted,
    Ready,
    StratumClient,
    Submitted,
)
from miner.sources.stratum.questions import Question
from tests.sources.stratum.talk import line, methods, notice, notify

GRANTED = {"version-rolling": True, "version-rolling.mask": "1fffe000"}


def manner(**changes: Any) -> Manner:
    return Manner(**({"user": "me", "password": "secret", "agent": "miner/1", "mask": 0x1FFFE000} | changes))


def started(**changes: Any) -> StratumClient:
    client = StratumClient(manner(**changes))
    client.start(0.0)
    return client


def sent(client: StratumClient) -> list[dict[str, Any]]:
    return [json.loads(text) for text in client.data_to_send().splitlines()]


def answer(client: StratumClient, id_: object, result: Any, error: Any = None, now: float = 0.0) -> list[Event]:
    return client.receive(line(id=id_, result=result, error=error), now)


def ready(**changes: Any) -> StratumClient:
    client = started(**changes)
    answer(client, 1, GRANTED)
    answer(client, 2, [[], "08", 4])
    answer(client, 3, True)
    client.data_to_send()
    assert client.ready
    return client


def endings(events: list[Event]) -> list[Ending]:
    return [event.ending for event in events if isinstance(event, Ended)]


def test_the_careful_order() -> None:
    client = started(minimum_difficulty=0.5, resume="s1")
    (configure,) = sent(client)
    assert configure["params"] == [
        ["version-rolling", "minimum-difficulty", "subscribe-extranonce"],
        {
            "version-rolling.mask": "1fffe000",
            "version-rolling.min-bit-count": 2,
            "minimum-difficulty.value": 0.5,
        },
    ]
    assert answer(client, 1, GRANTED) == [MaskGranted(0x1FFFE000, again=False)]
    (subscribe,) = sent(client)
    assert subscribe == {"id": 2, "method": "mining.subscribe", "params": ["miner/1", "s1"]}
    (joined,) = answer(client, 2, [[["mining.notify", "s2"]], "08", 4])
    assert joined == Joined(messages.Subscribed("s2", b"\x08", 4))
    assert sent(client) == [{"id": 3, "method": "mining.authorize", "params": ["me", "secret"]}]
    assert answer(client, 3, True) == [Ready()]
    assert sent(client) == []


def test_an_extranonce_that_is_subscribed_by_configure_is_known() -> None:
    client = started()
    assert not client.extranonce_granted
    answer(client, 1, GRANTED | {"subscribe-extranonce": True})
    assert client.extranonce_granted


@pytest.mark.parametrize("difficulty", [512.0, 0.25])
def test_a_suggested_difficulty_is_whole_where_it_can_be(difficulty: float) -> None:
    client = ready()
    client.suggest_difficulty(difficulty)
    (request,) = sent(client)
    assert json.dumps(request["params"]) == ("[512]" if difficulty > 1 else "[0.25]")


def test_each_request_says_which_optional_questions_are_in_it() -> None:
    client = started(minimum_difficulty=0.5, resume="s1")
    configure = {Question.VERSION_ROLLING, Question.MINIMUM, Question.EXTENSION}
    assert client.optional_questions() == [configure]
    answer(client, 1, GRANTED)
    assert client.optional_questions() == [{Question.RESUME}]
    answer(client, 2, [[], "08", 4])
    answer(client, 3, True)
    assert client.optional_questions() == []
    client.subscribe_extranonce()
    client.suggest_difficulty(1.0)
    client.ask_mask(0x6000)
    client.authorize_worker("cpu:0", "me.cpu-0", "x")
    client.submit(("me", "1"))
    asked = [{Question.EXTRANONCE}, {Question.SUGGEST}, {Question.MASK}, {Question.WORKERS}]
    assert client.optional_questions() == asked
    assert client.optional_questions() == []


@pytest.mark.parametrize("result", [None, False, True, [], "no", {"version-rolling": "mask too small"}])
def test_any_other_answer_to_configure_means_no_rolling(result: object) -> None:
    client = started()
    assert MaskGranted(0, again=False, refused=result is False) in answer(client, 1, result, None)
    assert methods(sent(client))[-1] == "mining.subscribe"


def test_silence_to_configure_means_no_rolling_until_the_answer_comes_after_all() -> None:
    client = started(configure_s=10.0)
    assert client.tick(9.9) == []
    assert client.tick(10.0) == [MaskGranted(None, again=False)]
    assert methods(sent(client)) == ["mining.configure", "mining.subscribe"]
    assert answer(client, 1, GRANTED) == [MaskGranted(0x1FFFE000, again=False)]
    assert sent(client) == []


def test_bits_that_were_not_asked_for_are_not_granted() -> None:
    assert answer(started(mask=0x6000), 1, GRANTED | {"version-rolling.mask": "ffffffff"}) == [
        MaskGranted(0x6000, again=False)
    ]


def test_nothing_to_configure_is_not_configured() -> None:
    assert methods(sent(started(mask=0))) == ["mining.subscribe"]


def test_null_is_a_welcome_for_authorize_alone() -> None:
    client = started(mask=0)
    answer(client, 1, [[], "08", 4])
    assert answer(client, 2, None) == [Ready()]
    assert endings(answer(started(mask=0), 1, None)) == [Ending.NOT_SUBSCRIBED]


@pytest.mark.parametrize(("result", "error"), [(False, None), (None, [24, "Unauthorized", None]), (None, "no"), (1, 2)])
def test_a_refused_user_ends_the_connection(result: object, error: object) -> None:
    client = started(mask=0)
    answer(client, 1, [[], "08", 4])
    assert endings(answer(client, 2, result, error)) == [Ending.NOT_AUTHORIZED]
    assert client.receive(notify(), 1.0) == []
    assert client.tick(1e6) == []


def test_answers_out_of_order_between_notices_in_small_pieces() -> None:
    client = ready()
    first = client.submit(("me", "1"))
    second = client.submit(("me", "2"))
    client.data_to_send()
    data = notice("mining.set_difficulty", 8) + line(id=second, result=True, error=None) + notify()
    data += line(id=float(first), result=None, error=[21, "Job not found", None])
    events = [event for i in range(len(data)) for event in client.receive(data[i : i + 1], 0.0)]
    assert [type(event) for event in events] == [messages.SetDifficulty, Submitted, messages.Notify, Submitted]
    assert [event.request for event in events if isinstance(event, Submitted)] == [second, first]


def test_an_answer_to_nothing_is_ignored() -> None:
    assert [type(event) for event in answer(ready(), 99, True)] == [Ignored]


@pytest.mark.parametrize(
    ("request_", "reply"),
    [
        ({"id": 42, "method": "mining.ping"}, {"id": 42, "result": "pong", "error": None}),
        ({"id": None, "method": "mining.ping"}, None),
        ({"id": "v", "method": "client.get_version"}, {"id": "v", "result": "miner/1", "error": None}),
        ({"id": 7, "method": "x.y"}, {"id": 7, "result": None, "error": [20, "Method not found", None]}),
        ({"id": None, "method": "x.y"}, None),
        ({"id": {}, "method": "x.y"}, None),
        ({"id": "x" * 2000, "method": "x.y"}, None),
    ],
)
def test_what_a_pool_asks_is_answered_if_it_can_be(request_: dict[str, Any], reply: dict[str, Any] | None) -> None:
    client = ready()
    client.receive(line(**request_), 0.0)
    assert sent(client) == ([reply] if reply else [])


def test_an_infinite_id_is_not_sent_back() -> None:
    client = ready()
    client.receive(b'{"id":1e400,"method":"mining.ping"}\n', 0.0)
    assert client.data_to_send() == b""


def test_garbage_ends_a_connection_and_a_good_line_between_forgives() -> None:
    client = ready()
    assert endings(client.receive(b"x\n" * (MAX_BAD_LINES - 1), 0.0)) == []
    client.receive(notify(), 0.0)
    assert endings(client.receive(b"x\n" * (MAX_BAD_LINES - 1), 0.0)) == []
    assert endings(client.receive(b"x\n" * 100, 0.0)) == [Ending.GARBAGE]


def test_a_line_without_end_ends_a_connection_and_frees_its_memory() -> None:
    client = ready()
    events: list[Event] = []
    for _ in range(MAX_LINE // 65536 + 1):
        events += client.receive(b"x" * 65536, 0.0)
    assert endings(events) == [Ending.FLOOD]
    assert client.held == 0


def test_silence_ends_a_connection_at_each_stage() -> None:
    client = started(mask=0, answer_s=30.0)
    assert endings(client.tick(30.0)) == [Ending.SILENT]
    client = ready(silence_s=180.0)
    client.receive(b"\n", 100.0)
    assert client.tick(279.0) == []
    assert endings(client.tick(280.0)) == [Ending.SILENT]


def test_ids_are_small_numbers_and_never_null() -> None:
    client = ready()
    ids = [int(client.submit(("me", str(i)))) for i in range(5)]
    assert ids == sorted(set(ids))
    assert [request["id"] for request in sent(client)] == ids
    assert Asked.SUBMIT in client.waiting_for


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
_methods = st.sampled_from(
    [
        "mining.notify",
        "mining.set_difficulty",
        "mining.set_extranonce",
        "mining.set_version_mask",
        "client.reconnect",
        "client.show_message",
        "client.get_version",
        "mining.ping",
        "x",
    ]
)
_nearly = st.fixed_dictionaries(
    {},
    optional={
        "id": st.integers(0, 5) | _json,
        "method": _methods | _json,
        "params": st.lists(_json, max_size=10) | _json,
        "result": _json,
        "error": _json,
        "reject-reason": _json,
    },
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.binary(max_size=60) | _nearly.map(lambda message: json.dumps(message).encode() + b"\n") | st.just(b"\n")
    )
)
def test_no_bytes_ever_raise_anything(pieces: list[bytes]) -> None:
    client = started()
    for number, piece in enumerate(pieces):
        for event in client.receive(piece, float(number)):
            assert isinstance(event, Event)
        assert client.held < 100_000
        client.tick(float(number))
