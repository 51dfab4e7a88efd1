from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.chain.commitment import witness_commitment
from miner.chain.hashes import display, sha256d
from miner.chain.network import Network
from miner.sources.base import SourceError
from miner.sources.consensus import EngineFailed, Judge, JudgeMisused, Ruling
from tests.sources.forge import block_on

REGTEST_GENESIS = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
MAINNET_GENESIS = "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f"
MAINNET_BLOCK_1 = bytes.fromhex(
    "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee14677ba1a3c3"
    "540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299"
    "01"
    "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff0704ffff001d0104ffffffff0100f205"
    "2a0100000043410496b538e853519c726a2c91e61ec11600ae1390813a627c66fb8be7947be63c52da7589379515d4e0a604f8141781e622"
    "94721166bf621e73a82cbf2342c858eeac00000000"
)


@pytest.fixture
def judge() -> Iterator[Judge]:
    with Judge() as judge:
        yield judge


def test_a_chain_begins_with_its_networks_genesis(judge: Judge) -> None:
    assert display(judge.tip.hash) == REGTEST_GENESIS
    assert judge.tip.height == 0 and judge.tip.median_time_past == judge.tip.ntime


def test_a_good_block_becomes_the_tip(judge: Judge) -> None:
    block = block_on(judge.tip)
    assert judge.submit(block) == Ruling()
    assert (judge.tip.hash, judge.tip.height) == (sha256d(block[:80]), 1)


def test_a_block_of_the_main_network_is_judged_by_its_rules() -> None:
    with Judge(Network.MAIN) as judge:
        assert display(judge.tip.hash) == MAINNET_GENESIS
        assert judge.submit(MAINNET_BLOCK_1[:4] + bytes(32) + MAINNET_BLOCK_1[36:]).reason == "high-hash"
        assert judge.submit(MAINNET_BLOCK_1).accepted
        assert judge.tip.height == 1


@pytest.mark.parametrize("network", list(Network))
def test_every_network_has_a_judge(network: Network) -> None:
    with Judge(network) as judge:
        assert judge.tip.height == 0


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"missing": True}, "high-hash"),
        ({"merkle_root": bytes(32)[1:] + b"\1"}, "bad-txnmrklroot"),
        ({"extra": 1}, "bad-cb-amount"),
        ({"height": 2}, "bad-cb-height"),
        ({"commitment": witness_commitment([b"\1" * 32])}, "bad-witness-merkle-match"),
        ({"ntime": int(time.time()) + 3 * 3600}, "time-too-new"),
        ({"ntime": 1296688602}, "time-too-old"),
        ({"nbits": 0x207FFFFE}, "bad-diffbits"),
        ({"prev_hash": bytes(31) + b"\1"}, "prev-blk-not-found"),
        ({"version": 1}, "bad-version(0x00000001)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_broken_rule_is_named_and_the_chain_stays(judge: Judge, fault: dict[str, int], reason: str) -> None:
    for _ in range(3):
        assert judge.submit(block_on(judge.tip)).accepted
    before = judge.tip
    assert judge.submit(block_on(before, **fault)).reason == reason  # type: ignore[arg-type]
    assert judge.tip == before
    assert judge.submit(block_on(before)).accepted


def test_the_explanation_comes_with_the_reason(judge: Judge) -> None:
    ruling = judge.submit(block_on(judge.tip, extra=1))
    assert "5000000001" in ruling.detail


def test_a_block_that_is_known_already_is_a_duplicate(judge: Judge) -> None:
    block = block_on(judge.tip)
    bad = block_on(judge.tip, extra=1)
    assert judge.submit(block).accepted
    assert judge.submit(block) == Ruling("duplicate")
    assert judge.submit(bad).reason == "inconclusive"  # beside the chain nobody looks at what it pays


def test_a_block_that_was_refused_before_is_a_duplicate_too(judge: Judge) -> None:
    bad = block_on(judge.tip, extra=1)
    assert judge.submit(bad).reason == "bad-cb-amount"
    assert judge.submit(bad).reason == "duplicate-invalid"


def test_a_block_beside_the_chain_is_accepted_once_its_branch_is_longer(judge: Judge) -> None:
    genesis = judge.tip
    assert judge.submit(block_on(genesis)).accepted
    assert judge.submit(block_on(judge.tip, version=1)).reason == "bad-version(0x00000001)"
    fork = block_on(genesis, tag=b"other")
    assert judge.submit(fork).reason == "inconclusive"
    with Judge() as elsewhere:
        assert elsewhere.submit(fork).accepted
        longer = block_on(elsewhere.tip)
    assert judge.submit(longer).accepted
    assert judge.tip.height == 2


@pytest.mark.parametrize("raw", [b"", bytes(80), b"\xff" * 500, bytes(4_000_001)], ids=["0", "80", "noise", "huge"])
def test_what_is_no_block_is_undecodable(judge: Judge, raw: bytes) -> None:
    assert judge.submit(raw).reason == "undecodable"


def test_a_block_with_something_behind_it_is_undecodable(judge: Judge) -> None:
    assert judge.submit(block_on(judge.tip) + b"\0").reason == "undecodable"


def test_the_next_block_must_be_later_than_median_time_past_and_need_not_be_later_than_that(judge: Judge) -> None:
    start = judge.tip.ntime
    for number, later in enumerate((0, 90, 10, 40, 95, 20, 30, 60, 99, 25, 35, 45, 55, 65, 70, 5, 1)):
        tip = judge.tip
        assert judge.submit(block_on(tip, ntime=tip.median_time_past)).reason == "time-too-old", number
        edge = block_on(tip, ntime=tip.median_time_past + 1, tag=b"edge")
        ahead = block_on(tip, ntime=max(start + 1000 + later, tip.median_time_past + 1))
        assert judge.submit(edge if number % 5 == 4 else ahead).accepted, number


def test_two_judges_do_not_hear_each_other(judge: Judge) -> None:
    with Judge() as other:
        block = block_on(judge.tip)
        assert judge.submit(block).accepted
        assert other.tip.height == 0
        assert other.submit(block).accepted


def test_judges_in_other_threads_do_not_hear_each_other(judge: Judge) -> None:
    rulings: list[str | None] = []

    def work() -> None:
        with Judge() as own:
            for _ in range(20):
                rulings.append(own.submit(block_on(own.tip, extra=1, tag=b"%d" % len(rulings))).reason)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(20):
        assert judge.submit(block_on(judge.tip)).accepted
    thread.join()
    assert set(rulings) == {"bad-cb-amount"}


def test_a_judge_serves_only_the_thread_that_made_it(judge: Judge) -> None:
    caught: list[BaseException] = []

    def intrude() -> None:
        try:
            judge.submit(b"")
        except SourceError as error:
            caught.append(error)

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert isinstance(caught[0], JudgeMisused)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_closed_judge_leaves_no_folder_and_answers_no_more(scratch: Path) -> None:
    judge = Judge()
    assert judge.submit(block_on(judge.tip)).accepted
    assert list(scratch.iterdir())
    judge.close()
    judge.close()
    assert not list(scratch.iterdir())
    with pytest.raises(JudgeMisused, match="closed"):
        judge.submit(b"")
    with pytest.raises(JudgeMisused, match="closed"):
        _ = judge.tip


def test_a_failure_of_the_engine_is_no_ruling(scratch: Path) -> None:
    with Judge() as judge:
        good = block_on(judge.tip)
        (folder,) = scratch.iterdir()
        shutil.rmtree(folder / "blocks")
        (folder / "blocks").touch()  # nowhere to write, as on a full disk
        with pytest.raises(EngineFailed, match="saving block"):
            judge.submit(good)


def test_an_engine_without_a_place_to_write_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with pytest.raises(EngineFailed, match="does not start"):
        Judge()
