from __future__ import annotations

from dataclasses import replace

import pytest

from miner.chain.block import Block
from miner.chain.coinbase import build_coinbase
from miner.chain.commitment import witness_commitment
from miner.chain.transaction import TxOut
from miner.sources.consensus import Judge, Tip
from miner.sources.embedded.draft import Draft, ShareUnsound, draft_on
from miner.sources.embedded.pacing import EASIEST
from tests.sources.embedded.search import solve

TIP = Tip(b"\7" * 32, height=200, ntime=1_600_000_000, median_time_past=1_600_000_000)


def draft(*, target: int = EASIEST >> 4) -> Draft:
    return draft_on(TIP, payout_script=b"\x51", target=target, wall_s=1_700_000_000.5)


def test_the_whole_subsidy_goes_to_the_payout_script() -> None:
    block = Block.parse(draft().solved(solve(draft().job("embedded", 1, "a", 0.0))))
    assert block.transactions[0].outputs[0] == TxOut(25 * 100_000_000, b"\x51")
    assert len(block.transactions) == 1


def test_a_block_paced_far_below_its_own_target_is_one_that_the_judge_accepts() -> None:
    with Judge() as judge:
        made = draft_on(judge.tip, payout_script=b"\x51", target=EASIEST >> 12, wall_s=judge.tip.ntime)
        assert judge.submit(made.solved(solve(made.job("embedded", 1, "a", 0.0)))).accepted


def test_a_block_whose_parts_contradict_each_other_does_not_leave() -> None:
    elsewhere = build_coinbase(
        height=201,
        outputs=[TxOut(25 * 100_000_000, b"\x51")],
        extranonce_size=8,
        commitment=witness_commitment([b"\1" * 32]),
    )
    spoiled = replace(draft(), coinbase=elsewhere)
    with pytest.raises(ShareUnsound, match="commitment"):
        spoiled.solved(solve(spoiled.job("embedded", 1, "a", 0.0)))
