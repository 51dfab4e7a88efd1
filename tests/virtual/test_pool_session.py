"""What the virtual pool says and takes in a session: version rolling, extranonces, difficulty, jobs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest

from tests.virtual.pool import VirtualPool
from tests.virtual.pool_judge import Rolling
from tests.virtual.pool_model import Pool
from tests.virtual.pool_shares import X2, mined, steady
from tests.virtual.pool_terms import EASY, Reask, Resume, Suggested, Terms, Vardiff, WorkFrom
from tests.virtual.pool_work import Recorded
from tests.virtual.raw_miner import RawMiner

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
