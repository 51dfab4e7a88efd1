"""The virtual pool's words, in each shape that pools have for them, and what it makes of a client's."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import BAD_DIFFICULTIES
from tests.virtual.pool_model import Pool
from tests.virtual.pool_shares import X2, mined
from tests.virtual.pool_terms import Delivery, ErrorShape, Ids, Terms
from tests.virtual.raw_miner import RawMiner

# ---- words


@pytest.mark.parametrize("shape", list(ErrorShape))
def test_refusals_come_in_each_shape(shape: ErrorShape) -> None:
    with VirtualPool(Terms(error_shape=shape)) as pool, RawMiner(pool.port) as miner:
        work = miner.begin()
        answer = miner.submit(replace(work, params=["never", *work.params[1:]]), X2, mined(work))
    del answer["id"]
    assert (
        answer
        == {
            ErrorShape.LIST: {"result": None, "error": [21, "Job not found", None]},
            ErrorShape.OBJECT: {"jsonrpc": "2.0", "error": {"code": 21, "message": "Job not found", "data": None}},
            ErrorShape.STRING: {"result": False, "error": "Job not found"},
            ErrorShape.REASON: {"result": False, "error": None, "reject-reason": "Job not found"},
            ErrorShape.BARE: {"result": False, "error": None},
        }[shape]
    )


@pytest.mark.parametrize(("ids", "kind"), [(Ids.AS_SENT, int), (Ids.TEXT, str), (Ids.FLOAT, float)])
def test_ids_come_back_as_the_pool_likes(ids: Ids, kind: type) -> None:
    with VirtualPool(Terms(delivery=Delivery(ids=ids, version2=True))) as pool, RawMiner(pool.port) as miner:
        answer = miner.ask("mining.extranonce.subscribe")
    assert type(answer["id"]) is kind
    assert answer["id"] == kind(1)
    assert answer["jsonrpc"] == "2.0"


@pytest.mark.parametrize(
    "delivery", [Delivery(piece=1), Delivery(piece=7), Delivery(gather=3), Delivery(line_end=b" \r\n\r\n  ")], ids=repr
)
def test_shares_get_through_whatever_the_segments(delivery: Delivery) -> None:
    with VirtualPool(Terms(delivery=delivery)) as pool, RawMiner(pool.port) as miner:
        if delivery.line_end != b"\n":
            miner.message = lambda: _skipping_blanks(miner)  # type: ignore[method-assign]
        work = miner.begin()
        assert miner.submit(work, X2, mined(work))["result"] is True


def _skipping_blanks(miner: RawMiner) -> dict[str, Any]:
    while not (line := miner.line()).strip():
        assert line
    message: dict[str, Any] = json.loads(line)
    if "method" in message:
        miner._take(message)
    return message


def test_questions_are_asked_and_answers_kept(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        miner.begin()
        pool.do(lambda model: model.ask("client.get_version", 7))
        assert miner.message()["method"] == "client.get_version"
        miner.write(b'{"id": 7, "result": "raw/1", "error": null}\n')
        pool.until(Pool.answers)
    assert pool.do(Pool.answers) == [{"id": 7, "result": "raw/1", "error": None}]


def test_notices_say_anything(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        miner.begin()
        pool.do(lambda model: model.notice("client.reconnect", ["evil.example", 3333, 0]))
        assert miner.message() == {"id": None, "method": "client.reconnect", "params": ["evil.example", 3333, 0]}
        for bad in BAD_DIFFICULTIES:
            pool.do(partial(Pool.notice, method="mining.set_difficulty", params=[bad]))
        lines = [miner.line() for _ in BAD_DIFFICULTIES]
        assert b"NaN" in lines[0]
        assert b"Infinity" in lines[1]


# ---- rules that clients break


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"x" * 2000, "line_too_long"),
        (b'{"id": null, "method": "mining.subscribe", "params": []}\n', "request_without_id"),
        (b"hello\n", "not_json"),
        (b"[]\n", "not_an_object"),
    ],
)
def test_a_client_that_breaks_a_rule_is_hung_up_on(pool: VirtualPool, data: bytes, rule: str) -> None:
    with RawMiner(pool.port) as miner:
        miner.write(data)
        assert miner.line() == b""
    assert pool.violations() == {rule: 1}


def test_lesser_sins_are_noted(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        request = {"id": 99, "method": "mining.configure", "params": [["version-rolling"], {}]}
        miner.write(json.dumps(request).encode() + b"\n" + json.dumps(request).encode() + b"\n")
        miner.answer()
        miner.answer()
        assert miner.ask("mining.suggest_difficulty", "much")["error"] is not None
    sins = {"no_min_bit_count": 2, "id_used_twice": 1, "malformed_mining.suggest_difficulty": 1}
    assert pool.violations() == sins
