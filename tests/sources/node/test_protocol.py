from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.network import Network
from miner.sources.base import SourceError, SourceMisbehaved, SourceMisconfigured, SourceUnreachable
from miner.sources.node.assembly import Assembly, assemble
from miner.sources.node.ours import Displaced, OwnBlock, Restored
from miner.sources.node.protocol import (
    CLOCK_OFF_S,
    DEAF_S,
    LONGEST_WAIT_S,
    MOVED_PACE_S,
    OLD_S,
    PACE_S,
    POLL_S,
    REFRESH_S,
    REFUSALS,
    Ask,
    Audited,
    BlockTaken,
    Effect,
    Event,
    Failed,
    Fetched,
    HandIn,
    HangUp,
    Learned,
    NodeProtocol,
    Opinion,
    Question,
    Start,
    Tick,
    Warn,
)
from miner.sources.node.rpc import RpcBroken, RpcForbidden, RpcLoginRefused, RpcRefused
from miner.sources.node.template import RuleUnknown, TemplateError, TemplateReader
from miner.work.events import NewJob, SourceDown, SourceFailed, SourceUp
from tests.sources.node.templates import NOW, core, without

TIPS = [f"{number:064x}" for number in range(20)]


def assembly(height: int = 101, tip: str | None = None, **changes: Any) -> Assembly:
    answer = core(height=height, previousblockhash=tip or TIPS[height % 20], **changes)
    return assemble(TemplateReader(Network.REGTEST).read(answer), b"\x51", b"tag")


def quiet(**changes: Any) -> Assembly:
    """A template that offers neither longpoll nor proposals."""
    return assemble(
        TemplateReader(Network.REGTEST).read(without(core(**changes), "longpollid") | {"capabilities": []}),
        b"\x51",
        b"tag",
    )


def own(height: int, number: int = 0) -> OwnBlock:
    """A block of ours at this height, on the tip that `assembly` builds on there."""
    return OwnBlock(bytes([number]) + bytes(31), assembly(height).template.prev_hash, height)


OURS = own(101)


@dataclass
class Bench:
    """A machine, its clock, and what it asked for last."""

    machine: NodeProtocol = field(default_factory=lambda: NodeProtocol("node", Network.REGTEST, lambda: 1.0))
    now: float = 0.0

    def __call__(self, event: Event) -> list[Effect]:
        return self.machine.handle(event, self.now)

    def fetched(self, what: Assembly, ask: Ask = Ask.TEMPLATE, wall: float = NOW) -> list[Effect]:
        return self(Fetched(ask, what, wall))

    def mining(self, what: Assembly | None = None) -> Assembly:
        """Up to the first job."""
        what = what or assembly()
        self(Start())
        self(Learned("regtest"))
        self.fetched(what)
        if what.template.can_propose:
            self(Opinion(what, None))
        self(Audited(what, None))
        return what

    def until(self, end: float) -> list[Effect]:
        """Ticks four times a second, all effects together."""
        effects: list[Effect] = []
        while self.now < end:
            self.now += 0.25
            effects += self(Tick())
        return effects


def asks(effects: list[Effect]) -> list[Ask]:
    return [effect.ask for effect in effects if isinstance(effect, Question)]


def of(effects: list[Effect], kind: type) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


# ---- the way to the first job


def test_the_first_job_comes_after_chain_template_and_opinion() -> None:
    bench, what = Bench(), assembly()
    assert bench(Start()) == [Question(Ask.CHAIN)]
    assert bench(Learned("regtest")) == [HandIn(), Question(Ask.TEMPLATE)]
    assert bench.fetched(what) == [Question(Ask.OPINION, what)]
    effects = bench(Opinion(what, None))
    assert effects[:2] == [HandIn(settled_from=101), SourceUp("node")]
    (job,) = of(effects, NewJob)
    assert job.replace
    assert job.job.payload is what
    assert effects[3:] == [Question(Ask.LONGPOLL, longpoll_id=what.template.longpoll_id), Question(Ask.AUDIT, what)]


def test_a_node_without_proposals_is_mined_on_at_once() -> None:
    bench = Bench()
    bench(Start())
    bench(Learned("regtest"))
    assert of(bench.fetched(quiet()), NewJob)


def test_the_opinion_is_asked_once_and_not_again_after_an_absence() -> None:
    bench = Bench()
    bench.mining()
    bench(Failed(Ask.TEMPLATE, SourceUnreachable("gone")))
    bench.until(5.0)
    bench(Learned("regtest"))
    assert of(bench.fetched(assembly(102)), NewJob)


def test_a_tip_that_moves_while_the_opinion_is_formed_means_another_template() -> None:
    bench, what = Bench(), assembly()
    bench(Start())
    bench(Learned("regtest"))
    bench.fetched(what)
    assert asks(bench(Opinion(what, "inconclusive-not-best-prevblk"))) == [Ask.TEMPLATE]
    assert asks(bench.fetched(assembly(102))) == [Ask.OPINION]


def test_a_block_that_the_node_would_not_take_is_proposed_a_few_times_and_then_never_mined() -> None:
    bench, what = Bench(), assembly()
    bench(Start())
    for attempt in range(REFUSALS):
        bench(Learned("regtest"))
        assert asks(bench.fetched(what)) == [Ask.OPINION]
        effects = bench(Opinion(what, "bad-cb-amount"))
        if attempt < REFUSALS - 1:
            assert of(effects, SourceDown)[0].reason == "the node would not take a block of ours: bad-cb-amount"
            assert asks(bench.until(bench.now + LONGEST_WAIT_S)) == [Ask.CHAIN]
    assert "bad-cb-amount" in of(effects, SourceFailed)[0].reason
    assert bench.until(bench.now + 300) == []


# ---- what a person must act on


@pytest.mark.parametrize(("chain", "says"), [("main", "mainnet"), ("signet", "signet"), ("litecoin", "litecoin")])
def test_a_node_on_another_chain_is_refused_before_a_block_is_handed_in(chain: str, says: str) -> None:
    bench = Bench()
    bench(Start())
    effects = bench(Learned(chain))
    assert says in of(effects, SourceFailed)[0].reason
    assert not of(effects, HandIn)


def test_a_node_that_comes_back_on_another_chain_is_refused() -> None:
    bench = Bench()
    bench.mining()
    bench(Failed(Ask.TEMPLATE, SourceUnreachable("gone")))
    bench.until(5.0)
    assert of(bench(Learned("test")), SourceFailed)


@pytest.mark.parametrize("mining", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        RuleUnknown("the node's chain enforces !blake2b, which this miner does not know"),
        RpcRefused(-8, "Support for 'blake2b' rule requires explicit client support"),
    ],
)
def test_an_unknown_rule_ends_it_by_name_at_any_time(*, mining: bool, error: SourceError) -> None:
    bench = Bench()
    if mining:
        bench.mining()
    else:
        bench(Start())
        bench(Learned("regtest"))
    (failure,) = of(bench(Failed(Ask.LONGPOLL if mining else Ask.TEMPLATE, error)), SourceFailed)
    assert "blake2b" in failure.reason and "does not know" in failure.reason
    assert bench.until(300.0) == []


@pytest.mark.parametrize(
    "error",
    [
        RpcLoginRefused("refuses the password", renews=False),
        RpcForbidden("forbids this"),
        RpcRefused(-32601, "Method not found"),
        SourceMisconfigured("may not read the cookie"),
    ],
)
def test_what_never_worked_ends_it_and_what_did_work_comes_back(error: SourceError) -> None:
    fresh, old = Bench(), Bench()
    fresh(Start())
    assert of(fresh(Failed(Ask.CHAIN, error)), SourceFailed)
    old.mining()
    assert of(old(Failed(Ask.TEMPLATE, error)), SourceDown)
    assert asks(old.until(5.0)) == [Ask.CHAIN]


def test_a_cookie_that_is_refused_may_be_an_old_one() -> None:
    bench = Bench()
    bench(Start())
    assert of(bench(Failed(Ask.CHAIN, RpcLoginRefused("refused", renews=True))), SourceDown)


# ---- waiting


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (-28, "the node is starting up: Loading"),
        (-9, "the node has no peers yet: Loading"),
        (-10, "the node is still downloading the chain: Loading"),
    ],
)
@pytest.mark.parametrize("ask", [Ask.CHAIN, Ask.TEMPLATE])
def test_a_node_that_is_not_ready_is_waited_for_with_a_sentence(code: int, says: str, ask: Ask) -> None:
    bench = Bench()
    bench(Start())
    if ask is Ask.TEMPLATE:
        bench(Learned("regtest"))
    assert bench(Failed(ask, RpcRefused(code, "Loading"))) == [SourceDown("node", says)]
    assert asks(bench.until(2.0)) == [Ask.CHAIN]


def test_waits_grow_to_a_limit_with_jitter_and_shrink_after_success() -> None:
    jitter = iter([1.0, 0.5] * 100)
    bench = Bench(NodeProtocol("node", Network.REGTEST, lambda: next(jitter)))
    bench(Start())
    waits = []
    for _ in range(10):
        bench(Failed(Ask.CHAIN, SourceUnreachable("refused")))
        begun = bench.now
        while not bench(Tick()):
            bench.now += 0.25
        waits.append(bench.now - begun)
    assert waits == [1.0, 1.0, 4.0, 4.0, 16.0, 15.0, LONGEST_WAIT_S, 15.0, LONGEST_WAIT_S, 15.0]
    what = assembly()
    bench(Learned("regtest"))
    bench.fetched(what)
    bench(Opinion(what, None))
    bench(Audited(what, None))
    bench(Failed(Ask.TEMPLATE, SourceUnreachable("refused")))
    assert asks(bench.until(bench.now + 1.0)) == [Ask.CHAIN]


@pytest.mark.parametrize("error", [SourceUnreachable("reset"), RpcBroken("nonsense"), TemplateError("nonsense")])
@pytest.mark.parametrize("ask", [Ask.CHAIN, Ask.TEMPLATE, Ask.OPINION])
def test_a_failure_of_any_question_is_waited_out(ask: Ask, error: SourceError) -> None:
    bench, what = Bench(), assembly()
    bench(Start())
    if ask is not Ask.CHAIN:
        bench(Learned("regtest"))
    if ask is Ask.OPINION:
        bench.fetched(what)
    assert of(bench(Failed(ask, error)), SourceDown)
    assert asks(bench.until(2.0)) == [Ask.CHAIN]
    assert asks(bench(Learned("regtest"))) == [Ask.TEMPLATE]
    assert asks(bench.fetched(what)) == [Ask.OPINION]
    assert of(bench(Opinion(what, None)), NewJob)


def test_blocks_of_earlier_are_handed_in_once_a_run() -> None:
    bench = Bench()
    bench.mining()
    bench(Failed(Ask.TEMPLATE, SourceUnreachable("gone")))
    bench.until(5.0)
    assert not of(bench(Learned("regtest")), HandIn)


# ---- mining


def test_a_new_tip_replaces_the_job_and_news_of_the_same_tip_stand_beside_it() -> None:
    bench = Bench()
    bench.mining()
    assert [event.replace for event in of(bench.fetched(assembly(101), Ask.LONGPOLL), NewJob)] == [False]
    assert [event.replace for event in of(bench.fetched(assembly(102), Ask.LONGPOLL), NewJob)] == [True]


def test_jobs_have_names_of_their_own() -> None:
    bench = Bench()
    bench.mining()
    keys = {of(bench.fetched(assembly(101)), NewJob)[0].job.key for _ in range(5)}
    assert len(keys) == 5


def test_a_template_is_fetched_anew_each_minute_beside_the_longpoll() -> None:
    bench = Bench()
    bench.mining()
    assert asks(bench.until(REFRESH_S - 0.25)) == []
    assert asks(bench.until(REFRESH_S)) == [Ask.TEMPLATE]
    assert asks(bench.until(REFRESH_S + 20)) == []  # one at a time


def test_without_a_longpoll_templates_are_polled() -> None:
    bench = Bench()
    bench.mining(quiet())
    assert asks(bench.until(POLL_S - 0.25)) == []
    assert asks(bench.until(POLL_S)) == [Ask.TEMPLATE]


def test_a_block_of_ours_means_a_new_template_at_once() -> None:
    bench = Bench()
    bench.mining()
    assert asks(bench(BlockTaken(OURS))) == [Ask.TEMPLATE]
    assert bench(BlockTaken(OURS)) == []
    assert Bench()(BlockTaken(OURS)) == []


def test_a_failing_longpoll_falls_back_to_polling_and_does_not_spin() -> None:
    bench = Bench()
    bench.mining()
    asked: list[Ask] = []
    while bench.now < 300.0:
        asked += (questions := asks(bench.until(bench.now + 0.25)))
        if Ask.LONGPOLL in questions or bench.now == 0.25:
            bench(Failed(Ask.LONGPOLL, SourceUnreachable("reset")))
        if Ask.TEMPLATE in questions:
            bench.fetched(assembly(101))
    assert 8 <= asked.count(Ask.LONGPOLL) <= 16  # 1, 2, 4, 8, 16, then each half minute
    assert 100 <= asked.count(Ask.TEMPLATE) <= 150


def test_a_longpoll_that_is_answered_at_once_again_and_again_does_not_spin() -> None:
    bench = Bench()
    bench.mining()
    asked = 1
    bench.fetched(assembly(101), Ask.LONGPOLL)
    while bench.now < 100.0:
        if Ask.LONGPOLL in asks(bench.until(bench.now + 0.25)):
            asked += 1
            bench.fetched(assembly(101), Ask.LONGPOLL)
    assert asked <= 100 / PACE_S + 1


def test_after_a_new_tip_the_next_longpoll_is_asked_without_delay() -> None:
    bench = Bench()
    bench.mining()
    bench.fetched(assembly(102), Ask.LONGPOLL)
    assert Ask.LONGPOLL in asks(bench.until(0.25))


def test_a_longpoll_that_did_not_notice_a_new_tip_is_hung_up_until_it_has_ended() -> None:
    bench = Bench()
    bench.mining()
    bench(BlockTaken(OURS))
    bench.fetched(assembly(102))
    assert not of(bench.until(DEAF_S - 0.25), HangUp)
    for _ in range(3):  # one that was still connecting did not hear the first
        assert of(bench.until(bench.now + 1), HangUp)
    bench(Failed(Ask.LONGPOLL, SourceUnreachable("hung up")))
    assert not of(bench.until(bench.now + 0.25), HangUp)
    (question,) = [each for each in of(bench.until(bench.now + 2), Question) if each.ask is Ask.LONGPOLL]
    assert question.longpoll_id is not None


def test_a_longpoll_that_waits_on_the_current_tip_is_let_wait() -> None:
    bench = Bench()
    bench.mining()
    for _ in range(20):
        bench.until(bench.now + REFRESH_S)
        bench.fetched(assembly(101))
    assert not of(bench.until(bench.now + 50), HangUp)


def test_no_job_is_older_than_what_may_be_mined_on() -> None:
    bench = Bench()
    bench.mining()
    effects = bench.until(OLD_S)  # the question at 60 s is never answered
    assert of(effects, SourceDown) == [SourceDown("node", "no template for 150 s")]
    assert bench.until(OLD_S + 60) == []
    effects = bench.fetched(assembly(101))
    assert of(effects, SourceUp) and of(effects, NewJob)


def test_a_failed_refresh_takes_the_source_down_until_the_next_template() -> None:
    bench = Bench()
    bench.mining()
    bench(BlockTaken(OURS))
    assert bench(Failed(Ask.TEMPLATE, SourceUnreachable("refused"))) == [SourceDown("node", "refused")]
    bench.until(5.0)
    bench(Learned("regtest"))
    effects = bench.fetched(assembly(101))
    assert of(effects, SourceUp) and of(effects, NewJob)


def test_news_of_a_longpoll_do_not_end_an_absence_early() -> None:
    bench = Bench()
    bench.mining()
    bench(Failed(Ask.TEMPLATE, TemplateError("nonsense")))
    assert bench.fetched(assembly(102), Ask.LONGPOLL) == []


# ---- a tip that goes backwards


def test_a_lower_tip_is_believed_when_it_is_heard_of_twice_and_lost_blocks_are_handed_in() -> None:
    bench = Bench()
    bench.mining(assembly(105))
    assert asks(bench.fetched(assembly(103), Ask.LONGPOLL)) == [Ask.TEMPLATE]
    effects = bench.fetched(assembly(103))
    assert of(effects, HandIn) == [HandIn(settled_from=103)]
    assert [event.replace for event in of(effects, NewJob)] == [True]


def test_an_answer_that_was_overtaken_does_not_take_the_tip_back() -> None:
    bench = Bench()
    bench.mining(assembly(101))
    bench(BlockTaken(OURS))
    bench.fetched(assembly(102), Ask.LONGPOLL)
    assert asks(bench.fetched(assembly(101))) == [Ask.TEMPLATE]
    assert not of(bench.fetched(assembly(102)), HandIn)
    assert asks(bench.fetched(assembly(101))) == [Ask.TEMPLATE]  # a new doubt, not the old one


@pytest.mark.parametrize("ask", [Ask.TEMPLATE, Ask.LONGPOLL])
def test_a_template_on_the_parent_of_our_block_that_was_asked_for_before_it_was_accepted_makes_no_job(ask: Ask) -> None:
    bench = Bench()
    bench.mining(assembly(101))
    assert ask is Ask.LONGPOLL or asks(bench.until(REFRESH_S)) == [Ask.TEMPLATE]
    bench(BlockTaken(OURS))
    late = bench.fetched(assembly(101), ask)
    assert not of(late, NewJob)
    assert (Ask.TEMPLATE in asks(late)) is (ask is Ask.TEMPLATE)  # else it is under way since the block was accepted
    assert of(bench.fetched(assembly(102)), NewJob)


def test_a_template_on_the_parent_of_our_block_that_was_asked_for_afterwards_is_a_job() -> None:
    bench = Bench()
    bench.mining(assembly(101))
    bench(BlockTaken(OURS))
    assert of(bench.fetched(assembly(101)), NewJob)


def test_a_node_that_leaves_our_block_for_its_parent_is_told_and_mined_on_at_once() -> None:
    bench = Bench()
    bench.mining(assembly(101))
    bench(BlockTaken(OURS))
    after = assembly(102, OURS.hash[::-1].hex())
    assert not of([*bench.fetched(after), *bench.fetched(after, Ask.LONGPOLL)], Displaced)
    assert Ask.LONGPOLL in asks(bench.until(MOVED_PACE_S))
    assert asks(bench.fetched(assembly(101), Ask.LONGPOLL)) == [Ask.TEMPLATE]  # heard of once
    back = bench.fetched(assembly(101))
    assert of(back, Displaced) == [Displaced(OURS)]
    assert [event.replace for event in of(back, NewJob)] == [True]
    assert of(back, HandIn) == [HandIn(settled_from=101)]
    assert of(bench.fetched(after), Restored) == [Restored(OURS)]


def test_a_node_that_comes_back_with_a_lower_tip_is_believed() -> None:
    bench = Bench()
    bench.mining(assembly(105))
    bench(Failed(Ask.TEMPLATE, SourceUnreachable("killed")))
    bench.until(5.0)
    bench(Learned("regtest"))
    effects = bench.fetched(assembly(103))
    assert of(effects, HandIn) == [HandIn(settled_from=103)]
    assert of(effects, NewJob)[0].replace


# ---- the audit


def test_an_unsound_template_is_left_and_waits_grow_while_it_stays_so() -> None:
    bench, what = Bench(), assembly()
    bench.mining(what)
    waits = []
    for _ in range(4):
        assert of(bench(Audited(what, TemplateError("hashes to something else"))), SourceDown)
        begun = bench.now
        while not bench(Tick()):
            bench.now += 0.25
        waits.append(bench.now - begun)
        bench(Learned("regtest"))
        what = assembly(102)
        assert of(bench.fetched(what), NewJob)
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_an_audit_that_comes_late_is_followed_by_one_of_the_current_template() -> None:
    bench = Bench()
    old = bench.mining()
    middle, new = assembly(102), assembly(103)
    assert Ask.AUDIT in asks(bench.fetched(middle))
    assert Ask.AUDIT not in asks(bench.fetched(new))
    assert bench(Audited(middle, TemplateError("nonsense"))) == [Question(Ask.AUDIT, new)]
    assert bench(Audited(new, None)) == []
    assert bench(Audited(old, TemplateError("nonsense"))) == [Question(Ask.AUDIT, new)]


# ---- the clock


@pytest.mark.parametrize(("off", "says"), [(CLOCK_OFF_S + 1, "behind ours"), (-CLOCK_OFF_S - 1, "ahead of ours")])
def test_a_clock_that_is_off_is_warned_of_once(off: int, says: str) -> None:
    bench = Bench()
    bench(Start())
    bench(Learned("regtest"))
    (warning,) = of(bench.fetched(assembly(), wall=NOW + off), Warn)
    assert warning.event == "clock_off" and says in warning.text
    assert not of(bench.fetched(assembly(), wall=NOW + off), Warn)


def test_a_clock_within_ten_minutes_is_well() -> None:
    bench = Bench()
    bench(Start())
    bench(Learned("regtest"))
    assert not of(bench.fetched(assembly(), wall=NOW + CLOCK_OFF_S), Warn)


# ---- whatever comes

_ASSEMBLIES = [assembly(100), assembly(101), assembly(101, tip=TIPS[9]), quiet()]
_ERRORS = [
    SourceUnreachable("x"),
    RpcRefused(-28, "x"),
    RpcRefused(-1, "x"),
    RpcForbidden("x"),
    TemplateError("x"),
    RpcLoginRefused("x", renews=True),
]
_events = st.lists(
    st.one_of(
        st.just(Learned("regtest")),
        st.builds(Fetched, st.sampled_from([Ask.TEMPLATE, Ask.LONGPOLL]), st.sampled_from(_ASSEMBLIES), st.just(NOW)),
        st.builds(Opinion, st.sampled_from(_ASSEMBLIES), st.sampled_from([None, "inconclusive-not-best-prevblk"])),
        st.builds(Audited, st.sampled_from(_ASSEMBLIES), st.sampled_from([None, *_ERRORS])),
        st.builds(Failed, st.sampled_from([*Ask]), st.sampled_from(_ERRORS)),
        st.builds(BlockTaken, st.sampled_from([OURS, own(101), own(102)])),
        st.just(Tick()),
    ),
    max_size=50,
)


@given(_events, st.data())
def test_whatever_happens_it_mines_again_once_the_node_is_well(events: list[Event], data: st.DataObject) -> None:
    bench = Bench()
    outstanding = set(asks(bench(Start())))
    failed = False

    def feed(event: Event) -> list[Effect]:
        effects = bench(event)
        for effect in effects:
            if isinstance(effect, Question):
                assert effect.ask not in outstanding, "asked twice at once"
                outstanding.add(effect.ask)
        return effects

    def answers(event: Event) -> Ask | None:
        match event:
            case Learned():
                return Ask.CHAIN
            case Fetched(ask) | Failed(ask):
                return ask
            case Opinion():
                return Ask.OPINION
            case Audited():
                return Ask.AUDIT
        return None

    for event in events:
        bench.now += data.draw(st.sampled_from([0.0, 0.3, 5.0, 40.0]))
        ask = answers(event)
        if ask is not None and ask not in outstanding:
            continue  # no shell answers what was not asked
        outstanding.discard(ask)  # type: ignore[arg-type]
        failed = failed or bool(of(feed(event), SourceFailed))
    if failed:
        return
    well = assembly(200)
    for _ in range(400):
        bench.now += 0.25
        effects = feed(Tick())
        for ask in list(outstanding - {Ask.LONGPOLL}):
            outstanding.discard(ask)
            honest: dict[Ask, Event] = {
                Ask.CHAIN: Learned("regtest"),
                Ask.TEMPLATE: Fetched(Ask.TEMPLATE, well, NOW),
                Ask.OPINION: Opinion(well, None),
                Ask.AUDIT: Audited(well, None),
            }
            effects += feed(honest[ask])
        if any(event.job.payload is well for event in of(effects, NewJob)):
            return
    raise AssertionError("it never mined again")


def test_a_misbehaving_node_is_no_misconfigured_one() -> None:
    assert issubclass(TemplateError, SourceMisbehaved) and issubclass(RuleUnknown, SourceMisconfigured)
