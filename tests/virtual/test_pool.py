"""The virtual pool judges as real pools do, and misbehaves as told: proven before the miner meets it."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import ssl
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import (
    BAD_DIFFICULTIES,
    BAD_JOBS,
    GARBAGE,
    MISCHIEF,
    Backwards,
    BadJob,
    Changed,
    Close,
    Cut,
    Deaf,
    Ignored,
    Instead,
    JobFirst,
    Late,
    Mischief,
    Noise,
    NoticeFirst,
    Oversized,
    Refused,
    Reset,
    Twice,
    Unanswered,
)
from tests.virtual.pool_judge import Reason, Rolling, Rules, SentJob, Submission, judge, sha256d, target_of
from tests.virtual.pool_model import CONNECT, KEPT_SEATS, Pool
from tests.virtual.pool_session import KEPT_JOBS, Call, Fault
from tests.virtual.pool_terms import (
    EASY,
    Delivery,
    ErrorShape,
    Ids,
    Reask,
    Resume,
    Suggested,
    Terms,
    Vardiff,
    WorkFrom,
)
from tests.virtual.pool_tls import Authority
from tests.virtual.pool_work import ANYONE_NBITS, Recorded
from tests.virtual.raw_miner import RawMiner, Work

X2 = "00000001"
MASK = 0x1FFFE000


def steady(terms: Terms) -> VirtualPool:
    """A pool whose jobs are the same each time, so that chance, which lets easy shares pass, decides alike."""
    return VirtualPool(terms, clock=lambda: 1_790_000_000.0)


def mined(work: Work, extranonce2: str = X2, **how: Any) -> tuple[str, str]:
    return next(work.search(extranonce2, **how))


# ---- the judge against shares that real pools and chains accepted


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


# ---- shares over the wire


@pytest.fixture
def pool() -> Any:
    with VirtualPool() as pool:
        yield pool


def test_right_shares_are_accepted_and_credited(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert len(miner.extranonce1) == 8
        found = work.search(X2)
        for _ in range(3):
            assert miner.submit(work, X2, next(found))["result"] is True
    account = pool.account("user")
    assert (account.accepted, account.difficulty, account.submitted) == (3, 3 * Fraction(EASY), 3)
    assert pool.violations() == {}


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name.lower())
def test_each_wrong_share_is_named(reason: Reason) -> None:
    with VirtualPool(Terms(ntime_ahead_s=60)) as pool, RawMiner(pool.port) as miner:
        if reason is Reason.NOT_SUBSCRIBED:
            answer = miner.ask("mining.submit", "user", "1", X2, "00000000", "00000000")
            assert answer["error"] == [25, "Not subscribed", None]
            return
        miner.configure("0000e000")
        work = miner.begin()
        share = miner.share(work, X2, mined(work), "00000000")
        user, job, extranonce2, ntime, nonce, bits = share
        late = f"{int(ntime, 16) + 3600:08x}"
        match reason:
            case Reason.MALFORMED:
                share = [user, job, extranonce2, ntime, nonce]
            case Reason.EXTRANONCE2_SIZE:
                share = [user, job, extranonce2 + "00", ntime, nonce, bits]
            case Reason.NTIME:
                share = [user, job, extranonce2, late, nonce, bits]
            case Reason.VERSION:
                share[5] = "00010000"
            case Reason.UNKNOWN_JOB:
                share[1] = "never"
            case Reason.STALE:
                pool.new_job(clean=True)
            case Reason.DUPLICATE:
                assert miner.ask("mining.submit", *share)["result"] is True
            case Reason.LOW_DIFFICULTY:
                share = miner.share(work, X2, mined(work, meets=False), "00000000")
            case Reason.UNAUTHORIZED:
                share[0] = "somebody"
        assert miner.ask("mining.submit", *share)["error"] == [reason.code, reason.text, None]
        assert pool.account(share[0]).rejected == {reason: 1}


def test_a_share_before_its_time_is_refused(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        early = f"{int(work.params[7], 16) - 1:08x}"
        miner.submit(work, X2, mined(work, ntime=early))
    assert pool.account("user").rejected == {Reason.NTIME: 1}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda share: share[:4],
        lambda share: [*share, "00000000", "00000000"],
        lambda share: [*share[:4], share[4].upper() + "F"],
        lambda share: [*share[:4], share[4][1:]],
        lambda share: [*share[:3], int(share[3], 16), share[4]],
        lambda share: [*share[:2], "0000000", *share[3:]],
        lambda share: [*share, "00000000"],  # version bits that were never granted
    ],
    ids=["short", "long", "upper case", "seven digits", "number", "odd extranonce2", "ungranted bits"],
)
def test_a_share_in_another_form_is_malformed(pool: VirtualPool, spoil: Any) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert miner.ask("mining.submit", *spoil(miner.share(work, X2, mined(work))))["error"][0] == 20
    assert pool.account("user").rejected == {Reason.MALFORMED: 1}


def test_a_block_counts_even_below_the_share_target() -> None:
    with VirtualPool(Terms(nbits=ANYONE_NBITS, difficulty=1e6)) as pool, RawMiner(pool.port) as miner:
        work = replace(miner.begin(), difficulty=2.0**-31)
        assert miner.submit(work, X2, mined(work))["result"] is True
        assert pool.account("user").blocks == 1


# ---- version rolling


@pytest.mark.parametrize("rolling", list(Rolling))
def test_rolled_shares_are_accepted_by_each_kind(rolling: Rolling) -> None:
    with steady(Terms(rolling=rolling)) as pool, RawMiner(pool.port) as miner:
        assert miner.configure()["result"] == {"version-rolling": True, "version-rolling.mask": "1fffe000"}
        work = miner.begin()
        assert miner.submit(work, X2, mined(work, version=0x20006000), "00006000")["result"] is True
        assert miner.submit(work, X2, mined(work, version=0x20006000), "00002000")["error"][0] == 23


@pytest.mark.parametrize(
    ("rolling", "bits"), [(Rolling.REPLACE, "1000a000"), (Rolling.XOR, "0000a000"), (Rolling.OR, "0000a000")]
)
def test_bits_over_those_of_the_job_count_as_each_kind_counts_them(rolling: Rolling, bits: str) -> None:
    with steady(Terms(rolling=rolling, version=0x30000000)) as pool, RawMiner(pool.port) as miner:
        miner.configure()
        work = miner.begin()
        found = mined(work, version=0x3000A000)
        others = {"1000a000", "0000a000"} - {bits}
        if rolling is not Rolling.OR:  # which takes both
            assert miner.submit(work, X2, found, others.pop())["error"][0] == 23
        assert miner.submit(work, X2, found, bits)["result"] is True


@pytest.mark.parametrize("rolling", list(Rolling))
def test_a_narrowed_mask_makes_all_kinds_agree(rolling: Rolling) -> None:
    with VirtualPool(Terms(rolling=rolling, version=0x30000000)) as pool, RawMiner(pool.port) as miner:
        miner.configure()
        assert miner.configure("0fffe000")["result"]["version-rolling.mask"] == "0fffe000"
        work = miner.begin()
        assert miner.submit(work, X2, mined(work, version=0x3000A000), "0000a000")["result"] is True
        assert miner.submit(work, X2, mined(work, version=0x3000C000), "1000c000")["error"][1] == "Invalid version mask"


@pytest.mark.parametrize("reask", [Reask.SAME, Reask.REFUSE, Reask.SILENCE])
def test_a_second_configure_can_come_to_nothing(reask: Reask) -> None:
    terms = Terms(rolling=Rolling.REPLACE, version=0x30000000, reask=reask)
    with steady(terms) as pool, RawMiner(pool.port) as miner:
        miner.configure()
        miner.send("mining.configure", ["version-rolling"], {"version-rolling.mask": "0fffe000"})
        if reask is Reask.SAME:
            assert miner.answer()["result"]["version-rolling.mask"] == "1fffe000"
        if reask is Reask.REFUSE:
            assert miner.answer()["error"][0] == 20
        work = miner.begin()
        found = mined(work, version=0x3000A000)
        assert miner.submit(work, X2, found, "0000a000")["error"][0] == 23
        assert miner.submit(work, X2, found, "1000a000")["result"] is True


def test_a_pool_without_version_rolling_says_so_and_wants_five_parameters() -> None:
    with VirtualPool(Terms(rolling=None)) as pool, RawMiner(pool.port) as miner:
        assert miner.configure()["result"] == {"version-rolling": False}
        work = miner.begin()
        assert miner.submit(work, X2, mined(work))["result"] is True


def test_a_new_version_mask_holds_at_once(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        miner.configure()
        work = miner.begin()
        pool.do(lambda model: model.set_version_mask(0x6000))
        assert miner.submit(work, X2, mined(work, version=0x20008000), "00008000")["error"][1] == "Invalid version mask"
        assert miner.notices[-1] == {"id": None, "method": "mining.set_version_mask", "params": ["00006000"]}
        assert miner.submit(work, X2, mined(work, version=0x20004000), "00004000")["result"] is True


def test_a_mask_of_too_few_bits_is_not_granted(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        wishes = {"version-rolling.mask": "0000e000", "version-rolling.min-bit-count": 4}
        answer = miner.ask("mining.configure", ["version-rolling"], wishes)
        assert answer["result"] == {"version-rolling": "mask too small"}
        work = miner.begin()
        assert miner.submit(work, X2, mined(work))["result"] is True


# ---- sessions


def test_a_session_is_resumed_with_its_extranonce_and_its_jobs(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
    with RawMiner(pool.port) as again:
        again.begin(resume=miner.session)
        assert (again.session, again.extranonce1) == (miner.session, miner.extranonce1)
        assert again.submit(work, X2, mined(work))["result"] is True


def test_without_resumption_jobs_of_the_last_connection_are_unknown() -> None:
    with VirtualPool(Terms(resume=Resume.NEW_EXTRANONCE)) as pool:
        with RawMiner(pool.port) as miner:
            miner.begin()
        old = pool.new_job()
        with RawMiner(pool.port) as again:
            work = again.begin(resume=miner.session)
            assert again.extranonce1 != miner.extranonce1
            assert work.params[0] == old
            gone = replace(work, params=["1", *work.params[1:]])
            assert again.submit(gone, X2, mined(work))["error"][0] == 21


def test_a_pool_may_refuse_the_session_id() -> None:
    with VirtualPool(Terms(resume=Resume.REFUSE)) as pool, RawMiner(pool.port) as miner:
        assert miner.ask("mining.subscribe", "raw/1", "session")["error"][0] == 20
        miner.begin()


def test_only_known_users_are_let_in() -> None:
    with VirtualPool(Terms(users={"user": "secret"})) as pool, RawMiner(pool.port) as miner:
        assert miner.ask("mining.authorize", "user", "x")["result"] is False
        miner.begin(password="secret")


def test_the_first_job_of_a_connection_is_a_clean_one(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as first:
        first.begin()
        pool.new_job(clean=False)
        with RawMiner(pool.port) as second:
            assert second.begin().params[8] is True
        assert first.job().params[8] is False


@pytest.mark.parametrize("sizes", [(0, 4), (1, 8), (7, 2), (8, 16)], ids=str)
def test_extranonces_of_any_size_make_valid_coinbases(sizes: tuple[int, int]) -> None:
    terms = Terms(extranonce1_size=sizes[0], extranonce2_size=sizes[1], flat_subscriptions=True, null_authorized=True)
    with VirtualPool(terms) as pool, RawMiner(pool.port) as miner:
        work = miner.begin()
        assert len(miner.extranonce1) == 2 * sizes[0]
        extranonce2 = "5a" * sizes[1]
        coinbase = bytes.fromhex(work.params[2] + miner.extranonce1 + extranonce2 + work.params[3])
        script_size = coinbase[41]
        assert coinbase[42 + script_size : 46 + script_size] == b"\xff" * 4  # the sequence stands where it belongs
        assert coinbase[42 + script_size - len(b"/virtual/") : 42 + script_size] == b"/virtual/"
        assert miner.submit(work, extranonce2, mined(work, extranonce2))["result"] is True


def test_set_extranonce_holds_from_the_next_job_and_older_jobs_keep_theirs(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        first = miner.begin()
        pool.do(lambda model: model.set_extranonce(6))
        pool.new_job()
        second = miner.job()
        assert (miner.extranonce1 == first.extranonce1, miner.extranonce2_size) == (False, 6)
        assert miner.submit(first, X2, mined(first))["result"] is True
        assert miner.submit(second, "00" * 6, mined(second, "00" * 6))["result"] is True


def test_the_same_id_after_set_extranonce_is_new_work(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        first = miner.begin()
        pool.do(Pool.set_extranonce)
        pool.do(Pool.repeat_job)
        second = miner.job()
        assert first.params[0] == second.params[0]
        assert miner.submit(first, X2, mined(first))["error"][0] == 23
        assert miner.submit(second, X2, mined(second))["result"] is True


@pytest.mark.parametrize("work_from", list(WorkFrom))
def test_work_comes_when_the_pool_likes(work_from: WorkFrom) -> None:
    with VirtualPool(Terms(work_from=work_from)) as pool, RawMiner(pool.port) as miner:
        miner.send("mining.subscribe", "raw/1")
        miner.send("mining.authorize", "user", "x")
        order = [miner.message().get("method", "answer") for _ in range(4)]
    place = {WorkFrom.BEFORE_SUBSCRIBED: 0, WorkFrom.SUBSCRIBED: 1, WorkFrom.AUTHORIZED: 2}[work_from]
    answers = ["answer", "answer"]
    assert order == [*answers[:place], "mining.set_difficulty", "mining.notify", *answers[place:]]


# ---- difficulty and jobs


def test_a_job_keeps_the_difficulty_that_it_was_sent_with(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        old = miner.begin()
        pool.do(lambda model: model.set_difficulty(EASY * 16))
        pool.new_job()
        new = miner.job()
        assert miner.submit(old, X2, mined(old))["result"] is True
        assert miner.submit(new, X2, mined(new))["result"] is True
        assert miner.submit(new, X2, mined(new, meets=False))["error"][0] == 23
    assert pool.account("user").difficulty == 17 * Fraction(EASY)


def test_a_pool_may_apply_a_new_difficulty_at_once() -> None:
    with steady(Terms(applies_at_once=True)) as pool, RawMiner(pool.port) as miner:
        work = miner.begin()
        pool.do(lambda model: model.set_difficulty(1e6))
        assert miner.submit(work, X2, mined(work))["error"][0] == 23


def test_vardiff_follows_the_rate_of_shares() -> None:
    now = [1e9]
    terms = Terms(vardiff=Vardiff(interval_s=1.0, window=4, step=4.0))
    with VirtualPool(terms, clock=lambda: now[0]) as pool, RawMiner(pool.port) as miner:
        work = miner.begin()
        shares = work.search(X2)
        for interval, factor in ((0.5, 2.0), (0.01, 4.0), (8.0, 0.25)):
            before = miner.difficulty
            for _ in range(5):
                now[0] += interval
                assert miner.submit(work, X2, next(shares))["result"] is True
            pool.do(lambda model: model.ask("mining.ping"))
            while miner.message()["method"] != "mining.ping":
                pass
            assert miner.difficulty == pytest.approx(before * factor)


def test_a_suggested_difficulty_and_a_minimum_are_kept(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        miner.ask("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": EASY * 4})
        assert miner.begin().difficulty == EASY * 4
        miner.ask("mining.suggest_difficulty", EASY * 8)
        pool.new_job()
        assert miner.job().difficulty == EASY * 8
        miner.ask("mining.suggest_difficulty", EASY)
        pool.new_job()
        assert miner.job().difficulty == EASY * 4


def test_a_pool_may_complain_about_suggestions_without_an_id() -> None:
    with VirtualPool(Terms(suggested=Suggested.COMPLAIN)) as pool, RawMiner(pool.port) as miner:
        assert miner.ask("mining.suggest_difficulty", 1)["id"] is None


@pytest.mark.parametrize(("count", "last"), [(8, None), (9, True), (10, True)])
def test_notify_has_as_many_parameters_as_the_pool_likes(count: int, last: bool | None) -> None:  # noqa: FBT001
    with VirtualPool(Terms(notify_params=count)) as pool, RawMiner(pool.port) as miner:
        work = miner.begin()
        assert len(work.params) == count
        assert last is None or work.params[-1] is last
        assert miner.submit(work, X2, mined(work))["result"] is True


def test_of_two_jobs_under_one_id_the_last_counts(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        first = miner.begin()
        pool.new_job(job_id=first.params[0], version=0x20000001)
        second = miner.job()
        assert first.params[0] == second.params[0]
        assert miner.submit(first, X2, mined(first))["error"][0] == 23
        assert miner.submit(second, X2, mined(second))["result"] is True


def test_the_same_job_again_keeps_the_easier_difficulty(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        pool.do(lambda model: model.set_difficulty(1e6))
        pool.do(Pool.repeat_job)
        assert miner.submit(work, X2, mined(work))["result"] is True


def test_jobs_come_at_the_chosen_pace() -> None:
    with VirtualPool(Terms(every_s=0.01, clean_every=3)) as pool, RawMiner(pool.port) as miner:
        miner.begin()
        jobs = [miner.job().params for _ in range(7)]
    assert [job[8] for job in jobs].count(True) in (2, 3)
    for before, after in itertools.pairwise(jobs):
        assert (before[1] != after[1]) == after[8]


def test_a_recorded_job_can_be_given_out(pool: VirtualPool) -> None:
    recorded = ["875b4b7", "ab" * 32, "01", "02", [], "20000000", "17023a04", "685468d7", True]
    with RawMiner(pool.port) as miner:
        miner.begin()
        pool.do(lambda model: model.give(Recorded(recorded)))
        assert miner.job().params == recorded


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


# ---- faults


STEPS = (CONNECT, "mining.configure", "mining.subscribe", "mining.authorize", "mining.submit", "mining.notify")


def a_share(pool: VirtualPool) -> dict[str, Any]:
    """One share from connecting to its answer."""
    with RawMiner(pool.port) as miner:
        return one_share(miner)


def one_share(miner: RawMiner) -> dict[str, Any]:
    miner.configure()
    work = miner.begin()
    return miner.submit(work, X2, mined(work), "00000000")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", [Reset(), Reset(after=True), Close(), Cut()], ids=repr)
def test_connections_end_at_every_step_and_the_next_one_is_served(pool: VirtualPool, step: str, fault: Any) -> None:
    pool.on(step, fault)
    with pytest.raises((ConnectionError, EOFError, ValueError)):
        a_share(pool)
    assert a_share(pool)["result"] is True
    acted = step == "mining.submit" and fault in (Reset(after=True), Cut())
    assert pool.account("user").accepted == 1 + acted


def test_a_reset_is_none_of_the_orderly_ends(pool: VirtualPool) -> None:
    pool.on("mining.subscribe", Reset(), Close(), Cut())
    with RawMiner(pool.port) as miner, pytest.raises(ConnectionResetError):
        miner.ask("mining.subscribe")
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        assert miner.line() == b""
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        miner.send("mining.authorize", "user", "x")
        part = miner.socket.recv(4096)
        assert part.startswith(b'{"id": 1, "result": ')
        assert not part.endswith(b"\n")
        with pytest.raises(ConnectionResetError):
            miner.line()


@pytest.mark.parametrize("step", STEPS[1:5])
def test_a_deaf_pool_stays_connected_and_silent(pool: VirtualPool, step: str) -> None:
    pool.on(step, Deaf())
    with RawMiner(pool.port) as miner:
        miner.socket.settimeout(0.1)
        with pytest.raises(TimeoutError):
            one_share(miner)
        pool.new_job(clean=True)
        with pytest.raises(TimeoutError):
            miner.line()


def test_answers_go_astray(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        shares = [miner.share(work, X2, found) for found, _ in zip(work.search(X2), range(9), strict=False)]
        faults: list[Fault] = [
            Ignored(),
            Unanswered(),
            Late(0.01),
            Twice(),
            Instead("yes", None),
            Refused(20, "Other"),
            Changed(lambda message: message | {"result": [message["result"]]}),
            Instead(),
        ]
        pool.on("mining.submit", *faults)
        first, *_ = [miner.send("mining.submit", *share) for share in shares]
        answers = sorted((miner.answer() for _ in range(8)), key=lambda answer: int(answer["id"]))
    got = [(answer["id"] - first, answer["result"]) for answer in answers]
    assert got == [(2, True), (3, True), (3, True), (4, "yes"), (5, None), (6, [True]), (7, None), (8, True)]
    assert pool.account("user").accepted == 5


def test_answers_come_backwards(pool: VirtualPool) -> None:
    pool.always("mining.submit", Backwards(batch=3))
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        shares = [miner.share(work, X2, found) for found, _ in zip(work.search(X2), range(5), strict=False)]
        sent = [miner.send("mining.submit", *share) for share in shares]
        assert [miner.answer()["id"] for _ in sent] == [*sent[2::-1], sent[4], sent[3]]


def test_notices_come_between_a_request_and_its_answer(pool: VirtualPool) -> None:
    pool.on("mining.subscribe", NoticeFirst("client.show_message", ("hello",)))
    pool.on("mining.submit", JobFirst(clean=False), JobFirst(clean=True))
    with RawMiner(pool.port) as miner:
        work = miner.begin()
        assert miner.notices[0]["params"] == ["hello"]
        found = work.search(X2)
        assert miner.submit(work, X2, next(found))["result"] is True
        assert miner.submit(work, X2, next(found))["error"][1] == "Stale"
        assert [notice["method"] for notice in miner.notices].count("mining.notify") == 3


def test_garbage_and_long_lines_come_first(pool: VirtualPool) -> None:
    with RawMiner(pool.port) as miner:
        for noise in GARBAGE:
            pool.on("mining.extranonce.subscribe", Noise(noise))
            miner.send("mining.extranonce.subscribe")
            assert miner.line() == noise
            assert json.loads(miner.line())["result"] is True
        pool.on("mining.extranonce.subscribe", Oversized(1 << 20))
        miner.send("mining.extranonce.subscribe")
        assert len(miner.line()) == (1 << 20) + 1


@pytest.mark.parametrize("name", BAD_JOBS)
def test_bad_jobs_differ_from_good_ones(pool: VirtualPool, name: str) -> None:
    with RawMiner(pool.port) as miner:
        miner.begin()
        pool.on("mining.notify", BadJob(BAD_JOBS[name]))
        pool.new_job()
        bad = json.loads(miner.line())
        assert bad["method"] == "mining.notify"
        assert bad["params"] != pool.do(lambda model: model.template.params(8))


def test_it_comes_back_on_its_port_and_remembers_accounts(pool: VirtualPool) -> None:
    port = pool.port
    assert a_share(pool)["result"] is True
    with RawMiner(port) as miner:
        miner.begin()
        pool.stop()
        with pytest.raises((ConnectionError, EOFError)):
            miner.job()
    with pytest.raises(ConnectionRefusedError):
        RawMiner(port)
    pool.start()
    assert pool.port == port
    assert a_share(pool)["result"] is True
    assert pool.account("user").accepted == 2


@pytest.mark.parametrize("mischief", MISCHIEF, ids=lambda mischief: mischief.name)
def test_the_pool_survives_its_own_mischief(pool: VirtualPool, mischief: Mischief) -> None:
    with RawMiner(pool.port, patience_s=0.1) as miner:
        miner.configure()
        miner.begin()
        pool.misbehave(random.Random(1), among=(mischief,))
        try:
            one_share(miner)  # on a connection that may be no longer what it was
        except (OSError, EOFError, ValueError, TypeError, LookupError, AssertionError):
            pool.heal()
    assert a_share(pool)["result"] is True


def test_the_same_seed_does_the_same_mischief(pool: VirtualPool) -> None:
    first, second = ([pool.misbehave(random.Random(seed)).name for seed in range(40)] for _ in range(2))
    assert first == second
    assert len(set(first)) > 10


# ---- TLS, coroutines


def test_shares_go_through_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with VirtualPool(tls=authority.server()) as pool:
        assert pool.url == f"stratum+tls://127.0.0.1:{pool.port}"
        with RawMiner(pool.port, tls=authority.client()) as miner:
            work = miner.begin()
            assert miner.submit(work, X2, mined(work))["result"] is True
        pool.on(CONNECT, Reset())
        with (
            pytest.raises((ConnectionError, EOFError, ssl.SSLError)),
            RawMiner(pool.port, tls=authority.client()) as miner,
        ):
            miner.begin()


@pytest.mark.parametrize("flaw", ["another name", "expired", "another authority"])
def test_a_flawed_certificate_is_seen_by_who_checks(tmp_path: Path, flaw: str) -> None:
    authority = Authority(tmp_path)
    server = authority.server("pool.example") if flaw == "another name" else authority.server(expired=flaw == "expired")
    with VirtualPool(tls=server) as pool:
        client = ssl.create_default_context() if flaw == "another authority" else authority.client()
        with pytest.raises(ssl.SSLCertVerificationError):
            RawMiner(pool.port, tls=client)


def test_a_coroutine_can_use_it() -> None:
    async def conversation(pool: VirtualPool) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", pool.port)
        writer.write(b'{"id": 1, "method": "mining.subscribe", "params": []}\n')
        answer: dict[str, Any] = json.loads(await reader.readline())
        await asyncio.to_thread(pool.until, lambda model: model.requests("mining.subscribe"))
        assert pool.do(lambda model: model.said_messages["answer"]) == 1
        writer.close()
        await writer.wait_closed()
        return answer

    with VirtualPool() as pool:
        assert len(asyncio.run(conversation(pool))["result"]) == 3


def test_a_port_in_use_is_an_error_of_start(pool: VirtualPool) -> None:
    other = VirtualPool()
    other.port = pool.port
    with pytest.raises(OSError, match="in use"):
        other.start()
    other.port = 0
    with other:
        assert a_share(other)["result"] is True


def test_an_error_of_the_pool_itself_fails_the_test() -> None:
    def broken(call: Call) -> None:
        raise ZeroDivisionError

    pool = VirtualPool().start()
    pool.on("mining.subscribe", broken)
    with RawMiner(pool.port) as miner:
        miner.send("mining.subscribe")
        assert miner.line() == b""
    with pytest.raises(ZeroDivisionError):
        pool.stop()
    with pytest.raises(IndexError):  # of an act: raised where it was asked for
        pool.do(lambda model: model.sessions[0])


def test_waiting_for_what_does_not_come_ends(pool: VirtualPool) -> None:
    with pytest.raises(TimeoutError):
        pool.until(lambda model: model.connections, timeout_s=0.05)


class Silent:
    """A wire that only remembers."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def reset(self) -> None:
        self.closed = True

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        call()


ARRIVAL = (
    b'{"id": 1, "method": "mining.subscribe", "params": []}\n{"id": 2, "method": "mining.auth',
    b'orize", "params": ["user", "x"]}\n',
)


def test_without_its_thread_a_fake_clock_runs_it() -> None:
    now = 1.7e9
    model, wire = Pool(clock=lambda: now), Silent()
    session = model.connect(wire)
    for part in ARRIVAL:
        session.receive(part)
    now += 86_400
    model.new_job(clean=True)
    last = json.loads(wire.written.splitlines()[-1])
    assert int(last["params"][7], 16) == int(now)
    session.receive(b"x" * 2000)
    assert wire.closed


def test_a_long_run_keeps_no_more_than_it_needs() -> None:
    model = Pool(Terms(difficulty=2.0**-32))
    for _ in range(KEPT_SEATS + 10):
        session = model.connect(Silent())
        for part in ARRIVAL:
            session.receive(part)
        model.lost(session)
    session = model.connect(Silent())
    for part in ARRIVAL:
        session.receive(part)
    assert session.seat is not None
    for number in range(KEPT_JOBS + 10):
        job = model.new_job(clean=number % 8 == 7).id
        share = {"id": number + 3, "method": "mining.submit", "params": ["user", job, "00" * 4, "%08x", "00000000"]}
        ntime = session.seat.jobs[job].ntime
        session.receive((json.dumps(share) % ntime).encode() + b"\n")
    assert model.books.accounts["user"].accepted == KEPT_JOBS + 10
    assert len(model._seats) == KEPT_SEATS
    assert len(session.seat.jobs) == KEPT_JOBS
    assert len(model._seen) < 8
