from __future__ import annotations

from typing import Any

import pytest

from miner.sources.base import SourceMisbehaved
from miner.sources.node.calls import TEXT_LIMIT, chain_of, submit_block, verdict_of
from miner.sources.node.rpc import RpcRefused


class Scripted:
    """Answers every call with one thing, or raises it."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.calls: list[tuple[object, ...]] = []

    def call(self, *call: object) -> Any:
        self.calls.append(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_block_is_handed_in_as_hex_and_null_is_a_yes() -> None:
    rpc = Scripted(None)
    assert submit_block(rpc, b"\x01\xff", "node") == ""  # type: ignore[arg-type]
    assert rpc.calls == [("submitblock", "01ff")]


@pytest.mark.parametrize("code", [-22, -25, -26])
def test_an_error_that_judges_the_block_is_a_verdict(code: int) -> None:
    rpc = Scripted(RpcRefused(code, "Block decode failed"))
    assert submit_block(rpc, b"", "node") == "Block decode failed"  # type: ignore[arg-type]


def test_an_error_about_anything_else_is_none() -> None:
    with pytest.raises(RpcRefused):
        submit_block(Scripted(RpcRefused(-28, "Loading block index")), b"", "node")  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [False, 0, {}, [], ""])
def test_what_is_no_word_is_no_verdict(answer: object) -> None:
    with pytest.raises(SourceMisbehaved, match="node answers a block"):
        verdict_of(answer, "node")


def test_a_verdict_is_bounded_and_printable() -> None:
    assert verdict_of("bad\x1b" + "x" * 1000, "node") == "bad\\x1b" + "x" * (TEXT_LIMIT - 4)


@pytest.mark.parametrize("answer", [None, [], {}, {"chain": 7}])
def test_a_node_that_does_not_name_its_chain_is_refused(answer: object) -> None:
    with pytest.raises(SourceMisbehaved, match="which chain"):
        chain_of(Scripted(answer), "node")  # type: ignore[arg-type]


def test_a_chain_is_named() -> None:
    assert chain_of(Scripted({"chain": "regtest"}), "node") == "regtest"  # type: ignore[arg-type]
