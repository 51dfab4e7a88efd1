"""Which sources are held to credit nothing, and how they get the devices back."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from miner.work.events import Answered, Distrust, Effect, Event, NewJob, SourceDown, SourceUp, Submit, Tick, Trust
from miner.work.job import Job
from miner.work.manager import Manager
from miner.work.probation import (
    FIRST_REST_S,
    LONGEST_REST_S,
    PROOF_S,
    REFUSED,
    REFUSED_S,
    RELIABLE_S,
    SILENT_S,
    STALE_S,
    Probation,
)
from miner.work.share import Answer, Reason, Share
from miner.work.strategy import Failover, Quota, Rotate, Strategy, first_ready
from tests.work.making import EASY, a_found, a_job

LOW = Reason.LOW_DIFFICULTY


def answer(reason: Reason | None, *, sent: bool = True, block: bool = False) -> Answer:
    text = "no" if reason else ""
    return Answer(1, accepted=reason is None, block=block, reason=reason, text=text, sent_at=0.0 if sent else None)


def told(probation: Probation, *reasons: Reason | None, every_s: float, replaced: bool = False) -> float:
    """Answer so many shares; the time of the last one."""
    now = 0.0
    for number, reason in enumerate(reasons):
        now = number * every_s
        probation.answered(answer(reason), now, replaced=replaced)
    return now


# ---- when a source is distrusted


def test_refusals_in_a_row_over_a_while_end_the_trust_with_the_pools_own_words() -> None:
    probation = Probation()
    told(probation, *[LOW] * REFUSED, every_s=REFUSED_S / (REFUSED - 1))
    assert probation.reason is not None
    assert "low-difficulty" in probation.reason and "'no'" in probation.reason
    assert not probation.fit(REFUSED_S)


def test_a_burst_of_refusals_is_not_enough() -> None:
    probation = Probation()
    told(probation, *[LOW] * 1000, every_s=REFUSED_S / 1001)
    assert probation.reason is None


def test_a_few_refusals_over_a_long_time_are_not_enough() -> None:
    probation = Probation()
    told(probation, *[LOW] * (REFUSED - 1), every_s=600.0)
    assert probation.reason is None


def test_one_accepted_share_ends_the_row() -> None:
    probation = Probation()
    told(probation, *([LOW] * (REFUSED - 1) + [None]) * 20, every_s=60.0)
    assert probation.reason is None


def test_stale_shares_of_replaced_jobs_count_only_where_nothing_else_is_answered_for_long() -> None:
    probation = Probation()
    told(probation, *[Reason.STALE] * 100, every_s=STALE_S / 101, replaced=True)
    assert probation.reason is None
    told(probation, *[Reason.STALE] * 102, every_s=STALE_S / 101, replaced=True)
    assert probation.reason is not None


def test_shares_that_are_stale_though_their_job_lives_count_like_any() -> None:
    probation = Probation()
    told(probation, *[Reason.STALE] * REFUSED, every_s=60.0)
    assert probation.reason is not None


def test_what_never_left_is_no_refusal_of_the_pools() -> None:
    probation = Probation()
    for now in range(0, 1000, 10):
        probation.answered(answer(Reason.STALE, sent=False), now, replaced=False)
        probation.answered(answer(Reason.UNANSWERED), now, replaced=False)
    assert probation.reason is None


def test_a_node_that_refuses_every_block_is_distrusted() -> None:
    probation = Probation()
    for number in range(REFUSED + 1):
        probation.answered(answer(Reason.OTHER, sent=False, block=True), number * 10.0, replaced=False)
    assert probation.reason is not None


# ---- how it is trusted again


def distrusted() -> Probation:
    probation = Probation()
    probation.silent("silent", 0.0)
    return probation


def test_after_a_rest_a_source_is_fit_until_its_first_share_has_been_out_for_a_moment() -> None:
    probation = distrusted()
    assert not probation.fit(FIRST_REST_S - 0.1)
    assert probation.fit(FIRST_REST_S + 500.0)
    probation.sent(FIRST_REST_S + 500.0)
    assert probation.fit(FIRST_REST_S + 500.0 + PROOF_S - 0.1)
    assert not probation.fit(FIRST_REST_S + 500.0 + PROOF_S)


def test_each_failed_trial_doubles_the_rest_up_to_a_limit() -> None:
    probation = distrusted()
    rests, now = [], 0.0
    for _ in range(7):
        rests.append(probation.rest_s)
        now += probation.rest_s
        probation.sent(now)
        now += PROOF_S
        probation.tick(now)
        assert not probation.fit(now)
    assert rests == [30.0, 60.0, 120.0, 240.0, 480.0, LONGEST_REST_S, LONGEST_REST_S]


def test_a_refused_share_ends_a_trial_at_once_and_an_accepted_one_ends_the_distrust() -> None:
    probation = distrusted()
    probation.sent(FIRST_REST_S)
    probation.answered(answer(LOW), FIRST_REST_S + 0.1, replaced=False)
    assert probation.rest_s == 2 * FIRST_REST_S
    assert not probation.fit(FIRST_REST_S + 0.2)
    probation.answered(answer(None), FIRST_REST_S + 0.3, replaced=False)
    assert probation.fit(FIRST_REST_S + 0.3)


def test_a_stale_share_decides_no_trial() -> None:
    probation = distrusted()
    probation.sent(FIRST_REST_S)
    probation.answered(answer(Reason.STALE), FIRST_REST_S + 0.1, replaced=True)
    assert probation.fit(FIRST_REST_S + 0.2)
    assert probation.fit(FIRST_REST_S + 100.0)


def test_an_answer_that_comes_late_ends_the_distrust_too() -> None:
    probation = distrusted()
    probation.sent(FIRST_REST_S)
    probation.tick(FIRST_REST_S + PROOF_S)
    probation.answered(answer(None), FIRST_REST_S + 8.0, replaced=False)
    assert probation.fit(FIRST_REST_S + 8.0)


def test_refusals_of_shares_from_before_the_rest_do_not_lengthen_it() -> None:
    probation = distrusted()
    for second in range(int(FIRST_REST_S)):
        probation.answered(answer(LOW), float(second), replaced=False)
        probation.silent("again", float(second))
    assert probation.fit(FIRST_REST_S)


@pytest.mark.parametrize(("trusted_s", "rest_s"), [(RELIABLE_S - 1, 2 * FIRST_REST_S), (RELIABLE_S, FIRST_REST_S)])
def test_a_source_that_relapses_soon_rests_longer(trusted_s: float, rest_s: float) -> None:
    probation = distrusted()
    probation.answered(answer(None), 40.0, replaced=False)
    probation.silent("again", 40.0 + trusted_s)
    assert probation.rest_s == rest_s


# ---- what is mined meanwhile


@dataclass
class Bench:
    """A manager over two sources, whose devices find a share each second of the one that is served."""

    strategy: Strategy = first_ready
    names: tuple[str, ...] = ("first", "second")
    sick: set[str] = field(default_factory=set)  # refuse every share
    frozen: set[str] = field(default_factory=set)  # answer none
    now: float = 0.0
    found: dict[str, int] = field(default_factory=dict)  # shares of each
    effects: list[Effect] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.manager = Manager(self.names, strategy=self.strategy)
        self.jobs: dict[str, Job] = {name: a_job(source=name) for name in self.names}
        for name, job in self.jobs.items():
            self(SourceUp(name))
            self(NewJob(job, replace=True))

    def __call__(self, event: Event) -> list[Effect]:
        new = self.manager.handle(event, self.now)
        self.effects += new
        return new

    @property
    def served(self) -> str | None:
        return self.manager.served.source if self.manager.served else None

    def mine(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self(Tick({name: 1_000_000 * count for name, count in self.found.items()}))
            if (job := self.manager.served) is not None:
                self.found[job.source] = self.found.get(job.source, 0) + 1
                for effect in self(a_found(job, EASY, int(self.now))):
                    if isinstance(effect, Submit):
                        self._judge(effect.share)

    def _judge(self, share: Share) -> None:
        source = share.job.source
        if source not in self.frozen:
            reason = LOW if source in self.sick else None
            verdict = Answer(share.id, accepted=reason is None, block=False, reason=reason, text="no", sent_at=self.now)
            self(Answered(source, verdict))

    def told(self, kind: type[Distrust | Trust]) -> list[str]:
        return [effect.source for effect in self.effects if isinstance(effect, kind)]


def test_a_pool_that_refuses_everything_gives_way_within_half_a_minute_and_costs_a_share_a_trial() -> None:
    bench = Bench(sick={"first"})
    bench.mine(30)
    assert bench.served == "second"
    assert bench.told(Distrust) == ["first"]
    bench.mine(1200)
    assert bench.found["first"] <= REFUSED_S + 2 + 10  # one row, then a share in each trial
    assert bench.told(Trust) == []


def test_a_pool_that_accepts_again_gets_the_devices_back() -> None:
    bench = Bench(sick={"first"}, strategy=Failover())
    bench.mine(30)
    bench.sick.clear()
    bench.mine(100)
    assert bench.told(Trust) == ["first"]
    assert bench.served == "first"


def test_a_pool_left_for_silence_gives_way_on_its_next_connection_too() -> None:
    bench = Bench(frozen={"first"})
    bench.mine(20)
    bench(SourceDown("first", "unanswered: it answered nothing for 20 s", unanswered=True))
    assert bench.served == "second"
    assert [standing.distrusted for standing in bench.manager.standings] == [
        "unanswered: it answered nothing for 20 s",
        None,
    ]
    bench(SourceUp("first"))
    bench(NewJob(a_job(source="first", session=2), replace=True))
    bench.mine(25)
    assert bench.served == "second"
    bench.mine(600)
    assert bench.found["first"] <= 20 + 4 * (PROOF_S + 1)
    bench.frozen.clear()
    bench.mine(600)
    assert bench.served == "first"


def test_the_refusal_of_a_bare_block_ends_no_trial() -> None:
    bench = Bench(sick={"first"})
    bench(SourceDown("first", "it answered nothing", unanswered=True))
    bench(SourceUp("first"))
    bench(NewJob(a_job(source="first", session=2, share_target=1000, network_target=EASY), replace=True))
    bench.mine(int(FIRST_REST_S) + 30)
    assert bench.found["first"] >= 29, "the trial lasts until a share is on its way"
    assert bench.served == "first"
    bench(a_found(bench.manager.served or a_job(), 1000, 0))
    bench.mine(int(PROOF_S) + 1)
    assert bench.served == "second"


def test_an_ordinary_loss_of_the_connection_is_no_reason_for_distrust() -> None:
    bench = Bench()
    bench(SourceDown("first", "closed"))
    bench(SourceUp("first"))
    bench(NewJob(a_job(source="first", session=2), replace=True))
    assert bench.served == "first"
    assert bench.told(Distrust) == []


def test_a_source_that_raises_no_alarm_of_its_own_is_distrusted_when_a_share_waits_for_long() -> None:
    bench = Bench(frozen={"first"})
    bench.mine(int(SILENT_S) - 1)
    assert bench.served == "first"
    bench.mine(3)
    assert bench.served == "second"


def test_a_source_that_comes_back_has_the_whole_time_for_shares_of_before() -> None:
    bench = Bench(frozen={"first"})
    bench.mine(1)
    bench(SourceDown("first", "closed"))
    bench.mine(int(SILENT_S) - 5)
    bench(SourceUp("first"))
    bench(NewJob(a_job(source="first"), replace=False))
    bench.mine(10)
    assert (bench.served, bench.told(Distrust)) == ("first", [])


@pytest.mark.parametrize("trouble", ["sick", "frozen"])
def test_the_only_pool_is_mined_on_and_called_out(trouble: str) -> None:
    bench = Bench(names=("only",), sick={"only"} if trouble == "sick" else set(), frozen={"only"})
    if trouble == "sick":
        bench.frozen.clear()
    bench.mine(400)
    assert bench.found == {"only": 400}
    assert bench.told(Distrust) == ["only"]


def test_where_all_pools_are_broken_the_preferred_one_is_mined() -> None:
    bench = Bench(sick={"first", "second"}, strategy=Failover(settle_s=0.0))
    bench.mine(400)
    assert sum(bench.found.values()) == 400
    assert bench.served is not None


@pytest.mark.parametrize("strategy", [Quota({"first": 70, "second": 30}), Rotate(period_s=300.0)])
def test_a_broken_pool_keeps_neither_its_part_nor_its_turn(strategy: Strategy) -> None:
    bench = Bench(strategy=strategy, sick={"first"})
    bench.mine(900)
    assert bench.found["first"] < 60
    assert bench.found["second"] > 840
