"""The judge of the virtual pool, against shares that real pools and chains accepted."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from tests.virtual.pool_judge import Reason, Rolling, Rules, SentJob, Submission, judge, sha256d, target_of
from tests.virtual.pool_shares import MASK


def rules(**changes: Any) -> Rules:
    usual = Rules(rolling=None, mask=0, generation=1, difficulty=None, latest_ntime=0xFFFFFFFF)
    return replace(usual, **changes)


def captured(vector: dict[str, Any]) -> tuple[SentJob, Submission, Rules]:
    submit = vector["submit"]
    words = [submit["ntime"], submit["nonce"], *([submit["version_bits"]] if submit["version_bits"] else [])]
    share = Submission.read(["user", vector["notify_params"][0], submit["extranonce2"], *words])
    assert share is not None
    job = SentJob(
        vector["notify_params"], vector["extranonce1"], vector["extranonce2_size"], vector["pool_difficulty"], 1, 0.0
    )
    if vector["version_mask"] is None:
        return job, share, rules()
    return job, share, rules(rolling=Rolling.REPLACE, mask=int(vector["version_mask"], 16))


@pytest.mark.golden("stratum_v1_shares")
def test_recorded_shares_are_rebuilt_and_accepted(vector: dict[str, Any]) -> None:
    job, share, its_rules = captured(vector)
    assert job.coinbase(share.extranonce2).hex() == vector["coinbase_hex"]
    verdict = judge(share, job, its_rules, lambda _: False)
    assert verdict.header.hex() == vector["header_hex"]
    assert verdict.hash == int(vector["hash"], 16)
    assert job.network_target == int(vector["network_target"], 16)
    assert verdict.accepted
    assert verdict.block == vector["is_block"]
    assert verdict.difficulty == Fraction(vector["pool_difficulty"])


@pytest.mark.golden("stratum_v1_shares")
def test_a_recorded_share_with_one_thing_changed_is_refused(vector: dict[str, Any]) -> None:
    job, share, its_rules = captured(vector)
    job = replace(job, params=[*job.params[:6], "1705ae3a", *job.params[7:]])  # no share a block
    for changed in (
        replace(share, nonce=share.nonce ^ 1),
        replace(share, extranonce2=share.extranonce2[:-1] + ("1" if share.extranonce2[-1] != "1" else "0")),
        replace(share, ntime=share.ntime + 1),
    ):
        assert judge(changed, job, its_rules, lambda _: False).reason is Reason.LOW_DIFFICULTY


@pytest.mark.golden("stratum_v1_shares")
def test_a_block_that_misses_the_difficulty_is_taken_where_the_pool_counts_blocks(vector: dict[str, Any]) -> None:
    job, share, its_rules = captured(vector)
    regtest = replace(job, params=[*job.params[:6], "207fffff", *job.params[7:]], difficulty=1e30)
    for nonce in range(64):
        bare = replace(share, nonce=nonce)
        taken, refused = (
            judge(bare, regtest, replace(its_rules, blocks_count=counts), lambda _: False) for counts in (True, False)
        )
        assert refused.reason is Reason.LOW_DIFFICULTY
        assert taken.accepted is taken.block is refused.block
    assert judge(share, job, replace(its_rules, blocks_count=False), lambda _: False).accepted


@pytest.mark.golden("stratum_v1_merkle")
def test_recorded_branches_fold_to_their_root(vector: dict[str, Any]) -> None:
    params = ["1", "00" * 32, vector["coinb1"], vector["coinb2"], vector["branches"], "00000002", "1705ae3a", "0", True]
    job = SentJob(params, vector["extranonce1"], 4, 1.0, 1, 0.0)
    assert sha256d(job.coinbase(vector["extranonce2"]))[::-1].hex() == vector["coinbase_txid"]
    assert job.merkle_root(vector["extranonce2"]).hex() == vector["merkle_root_header_bytes"]


@pytest.mark.golden("difficulty_to_target")
def test_targets_are_exact(vector: dict[str, Any]) -> None:
    assert target_of(float(vector["difficulty"])) == int(vector["target"], 16)


@pytest.mark.golden("version_rolling", where=lambda vector: vector["valid"])
def test_bits_replace_those_of_the_job_as_bip_310_says(vector: dict[str, Any]) -> None:
    job, mask, bits = (int(vector[name], 16) for name in ("job_version", "mask", "version_bits"))
    assert Rolling.REPLACE.version(job, bits, mask) == int(vector["header_version"], 16)


def test_the_three_kinds_agree_only_while_the_job_leaves_the_mask_alone() -> None:
    assert {kind.version(0x20000004, 0x2000, MASK) for kind in Rolling} == {0x20002004}
    assert [kind.version(0x20006000, 0x2000, MASK) for kind in Rolling] == [0x20002000, 0x20006000, 0x20004000]
