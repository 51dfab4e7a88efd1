"""Optional questions that a pool hangs up on: the rules alone, and a miner beside a virtual pool in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.sources.stratum.effects import Ending, Leave, Say
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.pool import Pool
from miner.sources.stratum.questions import HANGS_UP_S, LATE_S, Loss, Question, Questions
from miner.work.events import Answered, NewJob
from miner.work.job import Job
from tests.sources.stratum.talk import Table, easy, methods, notify, options, share_of
from tests.virtual.pool_faults import OPTIONAL, HangsUpOn
from tests.virtual.pool_model import Pool as VirtualPool
from tests.virtual.pool_session import Call, Session
from tests.virtual.pool_terms import Terms

VERSION, SUGGEST, EXTRANONCE = Question.VERSION_ROLLING, Question.SUGGEST, Question.EXTRANONCE


def close(questions: Questions, now: float, *, ready: bool = True) -> frozenset[Question]:
    return questions.lost(Loss.CLOSED, now, heard_at=now, ready=ready)


# ---- what is learnt


def test_a_question_that_a_pool_closes_on_is_left_out_and_comes_back_once_a_connection_stands() -> None:
    questions = Questions()
    questions.asked(0.0, SUGGEST)
    assert close(questions, 1.0) == {SUGGEST}
    assert not questions.asks(SUGGEST)
    assert questions.give_back(2.0, HANGS_UP_S - 0.1) is None
    assert questions.give_back(2.0, HANGS_UP_S) is SUGGEST
    assert questions.asks(SUGGEST)


def test_a_question_that_a_pool_closes_on_again_is_left_out_for_good() -> None:
    questions = Questions()
    for _ in range(2):
        questions.asked(0.0, SUGGEST)
        assert close(questions, 1.0) == {SUGGEST}
        questions.give_back(10.0, HANGS_UP_S)
    assert questions.refused(SUGGEST)
    assert questions.give_back(1e6, 1e6) is None


def test_a_question_that_was_doubted_and_is_answered_is_asked_as_before() -> None:
    questions = Questions()
    questions.asked(0.0, SUGGEST)
    close(questions, 1.0)
    questions.asked(10.0, questions.give_back(10.0, HANGS_UP_S) or VERSION)
    questions.answered(SUGGEST, taken=True)
    assert questions.tick(10.0, 10.0) == {SUGGEST}
    assert questions.tick(11.0, 11.0) == set()
    assert close(questions, 10.1) == set()


@pytest.mark.parametrize(("heard_at", "cleared"), [(HANGS_UP_S, {SUGGEST}), (HANGS_UP_S - 0.1, set())])
def test_a_doubted_question_without_an_answer_is_cleared_once_the_pool_went_on(
    heard_at: float, cleared: set[Question]
) -> None:
    questions = Questions()
    questions.asked(-10.0, SUGGEST)
    close(questions, -9.0)
    questions.give_back(0.0, HANGS_UP_S)
    questions.asked(0.0, SUGGEST)
    assert questions.tick(60.0, heard_at) == cleared


def test_version_rolling_comes_back_at_once_and_first() -> None:
    questions = Questions()
    questions.asked(0.0, SUGGEST)
    questions.asked(0.0, VERSION)
    assert close(questions, 1.0) == {SUGGEST, VERSION}
    assert questions.give_back(2.0, 0.0) is VERSION
    questions.asked(2.0, VERSION)
    assert questions.busy(2.0)
    assert questions.give_back(2.0 + HANGS_UP_S - 0.1, HANGS_UP_S) is None
    assert questions.give_back(2.0 + HANGS_UP_S, HANGS_UP_S) is SUGGEST


def test_of_several_extensions_in_one_request_the_one_that_came_back_is_to_blame() -> None:
    questions = Questions()
    questions.asked(0.0, VERSION, Question.MINIMUM, Question.EXTENSION)
    close(questions, 0.0, ready=False)
    questions.asked(1.0, questions.give_back(1.0, 0.0) or SUGGEST)
    questions.answered(VERSION, taken=True)
    assert questions.give_back(10.0, HANGS_UP_S) is None
    assert questions.left_out == {Question.EXTENSION}  # one at a time
    close(questions, 60.0)
    questions.asked(61.0, VERSION, Question.MINIMUM)
    assert close(questions, 61.0, ready=False) == {Question.MINIMUM}
    assert questions.refused(Question.MINIMUM)
    assert questions.asks(VERSION)


def test_a_close_long_after_a_question_has_nothing_to_do_with_it() -> None:
    questions = Questions()
    questions.asked(0.0, SUGGEST)
    assert close(questions, LATE_S) == set()


def test_a_pool_that_closes_late_twice_in_a_row_is_asked_the_question_again_with_more_patience() -> None:
    questions = Questions()
    for left_out in (set(), {SUGGEST}):
        questions.asked(0.0, SUGGEST)
        assert close(questions, 8.0) == left_out
    assert questions.give_back(20.0, HANGS_UP_S) is SUGGEST
    questions.asked(20.0, SUGGEST)
    assert questions.tick(27.0, 27.0) == set()
    assert close(questions, 28.0) == {SUGGEST}
    assert questions.refused(SUGGEST)


def test_one_late_close_between_connections_that_stood_teaches_nothing() -> None:
    questions = Questions()
    for ended_at in (8.0, 1000.0) * 5:
        questions.asked(0.0, SUGGEST)
        assert close(questions, ended_at) == set()


def test_a_pool_that_goes_deaf_on_a_question_is_not_asked_again() -> None:
    questions = Questions()
    for _ in range(2):
        questions.asked(0.0, SUGGEST)
        assert questions.lost(Loss.DEAF, 180.0, heard_at=1.0, ready=True) == {SUGGEST}
        questions.give_back(200.0, HANGS_UP_S)
    assert questions.refused(SUGGEST)


def test_a_pool_that_closes_before_it_is_ready_whatever_is_left_out_is_asked_everything_again() -> None:
    questions = Questions()
    questions.asked(0.0, VERSION)
    close(questions, 0.0, ready=False)
    assert not questions.asks(VERSION)
    assert close(questions, 1.0, ready=False) == set()
    assert questions.asks(VERSION)


def test_a_pool_may_answer_with_an_error_before_it_closes() -> None:
    questions = Questions()
    questions.asked(0.0, VERSION)
    questions.answered(VERSION, taken=False)
    assert not questions.busy(0.0)
    questions.asked(0.5, SUGGEST)
    assert close(questions, 1.0) == {VERSION, SUGGEST}


def test_a_connection_that_we_end_teaches_nothing() -> None:
    questions = Questions()
    questions.asked(0.0, SUGGEST)
    assert questions.lost(Loss.OTHER, 0.0, heard_at=0.0, ready=True) == set()


# ---- a pool and a miner in memory


@dataclass
class Line:
    """A connection without a socket: bytes for the miner, and when the pool ends it."""

    clock: Callable[[], float]
    data: bytearray = field(default_factory=bytearray)
    calls: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    closed: bool = False

    def write(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.closed = True

    reset = close

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self.calls.append((self.clock() + delay_s, call))

    def due(self) -> None:
        now = self.clock()
        for at, call in [item for item in self.calls if item[0] <= now]:
            self.calls.remove((at, call))
            call()


WALL = 1_700_000_000.0


class World:
    """A virtual pool, the miner's side of it, and two devices that find a share of each job."""

    def __init__(self, fault: HangsUpOn, terms: Terms, miner_options: StratumOptions) -> None:
        self.now = 0.0
        self.model = VirtualPool(terms, lambda: WALL + self.now)
        fault.install(self.model)
        self.pool = Pool(miner_options)
        self.line: Line | None = None
        self.session: Session | None = None
        self.asked: set[str] = set()  # on the present connection
        self.ended_by_fault = 0
        self.said: list[Say] = []
        self.accepted = 0

    def connect(self) -> None:
        self.line = Line(lambda: self.now)
        self.session = self.model.connect(self.line)
        self.asked = set()
        self.pool.connected(3333, self.now)

    def step(self, seconds: float = 1.0) -> None:
        self.now += seconds
        if self.line is None:
            self.connect()
        line, session = self.line, self.session
        assert line is not None and session is not None
        line.due()
        effects = self.pool.tick(self.now, WALL + self.now)
        for _ in range(8):
            self.forward(session)
            data = bytes(line.data)
            line.data.clear()
            if not data:
                break
            effects += self.pool.receive(data, self.now, WALL + self.now)
        left = next((effect for effect in effects if isinstance(effect, Leave)), None)
        for effect in effects:
            match effect:
                case NewJob(job):
                    self.mine(job)
                case Say():
                    self.said.append(effect)
                case Answered(_, answer):
                    self.accepted += answer.accepted
        self.forward(session)
        if line.closed or left is not None:
            self.ended_by_fault += 1
            self.hang_up(left.ending if left else Ending.CLOSED)

    def forward(self, session: Session) -> None:
        for text in self.pool.data_to_send().splitlines(keepends=True):
            assert self.line is not None
            if not self.line.closed:
                self.note(session, text)
                session.receive(text)

    def note(self, session: Session, text: bytes) -> None:
        call = Call(session, json.loads(text), lambda: None)
        self.asked |= {name for name, is_it in OPTIONAL.items() if "method" in call.message and is_it(call)}

    def mine(self, job: Job) -> None:
        for device in ("cpu0", "usb0"):
            self.pool.submit(share_of(job, device.encode(), device=device), self.now)

    def hang_up(self, ending: Ending = Ending.CLOSED) -> None:
        assert self.session is not None
        self.model.lost(self.session)
        effects, _ = self.pool.disconnected(ending, "", self.now)
        self.said += [effect for effect in effects if isinstance(effect, Say)]
        self.line = self.session = None

    def run(self, seconds: int) -> None:
        for second in range(seconds):
            self.step()
            if second % 10 == 9:
                self.model.new_job()


def test_what_is_left_out_is_said_in_one_line_with_what_it_means() -> None:
    world = a_world(frozenset({"version-rolling", "suggest"}), "close")
    settle(world, 20)
    said = [effect.fields for effect in world.said if effect.event == "question_left_out"]
    first, last = said[0], said[-1]
    assert first["questions"] == (
        "mining.configure version-rolling, mining.configure minimum-difficulty, mining.configure subscribe-extranonce"
    )
    assert "until a connection stands" in first["text"] and "devices do not roll version bits" in first["text"]
    assert last["questions"] == SUGGEST and "until the miner ends: the pool chooses the difficulty" in last["text"]
    for_good = [fields["questions"] for fields in said if "until the miner ends" in fields["text"]]
    assert for_good == [VERSION, SUGGEST]


EASY = 2.0**-30
OPTIONS = options(
    user="me.{device}", first_device="cpu0", suggest_difficulty=EASY, minimum_difficulty=EASY, silence_s=40.0
)
BIT_28 = 1 << 28  # lies under the mask, so that the miner asks for a smaller one


def asked_beside(disliked: frozenset[str]) -> set[str]:
    """What a miner asks a pool on one connection that dislikes these."""
    extensions = {"version-rolling", "minimum-difficulty"} - disliked
    asked = extensions | ({"resume", "suggest", "workers"} - disliked)
    if extensions and "subscribe-extranonce" not in disliked:
        asked.add("subscribe-extranonce")  # which this pool grants, so that the other way is not gone
    elif "extranonce" not in disliked:
        asked.add("extranonce")
    if "version-rolling" in extensions and "second configure" not in disliked:
        asked.add("second configure")
    return asked


def a_world(disliked: frozenset[str], how: str) -> World:
    return World(HangsUpOn(disliked, how), Terms(difficulty=EASY, version=0x20000000 | BIT_28), OPTIONS)


def settle(world: World, seconds: int) -> None:
    """Let the pool lose its connections now and then for reasons of its own, as pools do."""
    for _ in range(7):
        world.run(seconds)
        if world.session is not None:
            world.hang_up()


@settings(max_examples=25, deadline=None)
@given(st.frozensets(st.sampled_from(sorted(OPTIONAL))), st.sampled_from(["close", "error"]))
def test_whatever_a_pool_hangs_up_on_it_is_mined_after_few_connections_and_asked_the_rest(
    disliked: frozenset[str], how: str
) -> None:
    world = a_world(disliked, how)
    settle(world, 20)
    assert world.ended_by_fault <= 2 * len(disliked)
    ended, accepted = world.ended_by_fault, world.accepted
    world.run(30)
    assert world.ended_by_fault == ended
    assert world.accepted - accepted >= 4
    assert world.asked == asked_beside(disliked)


@pytest.mark.parametrize("how", ["late", "deaf", "unread"])
@pytest.mark.parametrize("names", ["version-rolling", "resume", "suggest", "subscribe-extranonce extranonce"])
def test_a_question_that_a_pool_hangs_up_on_late_or_goes_deaf_on_is_left_out_as_well(names: str, how: str) -> None:
    disliked = frozenset(names.split())
    world = a_world(disliked, how)
    settle(world, 150)
    assert 2 <= world.ended_by_fault <= 6
    ended = world.ended_by_fault
    world.run(60)
    assert world.ended_by_fault == ended
    assert world.asked == asked_beside(disliked)


def doubted(ending: Ending) -> Table:
    """A pool that hung up on suggest_difficulty once, on a connection that stands: the question is due again."""
    table = Table(options(suggest_difficulty=EASY))
    table.join()
    table.answer(table.last("mining.extranonce.subscribe"), True)
    assert "mining.suggest_difficulty" in methods(table.hear())
    table.hang_up(ending)
    table.join()
    table.answer(table.last("mining.extranonce.subscribe"), True)
    table.hear()
    return table


def test_a_question_comes_back_only_once_the_pool_has_spoken() -> None:
    table = doubted(Ending.CLOSED)
    table.tick(HANGS_UP_S)
    table.tick(100.0)
    assert table.hear() == []
    table.say(notify())
    assert methods(table.hear()) == ["mining.suggest_difficulty"]


def test_a_pool_that_is_silent_already_is_not_asked_again_and_the_question_is_not_blamed() -> None:
    table = doubted(Ending.CLOSED)
    table.submit(share_of(easy(table)))
    for second in range(21):
        table.say(notify(f"later {second}"))
        table.tick(1.0)
    assert table.left is not None and table.left.ending is Ending.UNANSWERED
    assert "mining.suggest_difficulty" not in methods(table.hear())
    table.hang_up(Ending.UNANSWERED)
    assert "until the miner ends" not in str(table.effects)


def test_a_pool_that_answers_nothing_from_a_question_on_is_not_asked_it_again_though_jobs_go_on() -> None:
    table = Table(options(suggest_difficulty=EASY))
    table.join()
    table.answer(table.last("mining.extranonce.subscribe"), True)
    assert "mining.suggest_difficulty" in methods(table.hear())
    table.submit(share_of(easy(table)))
    for second in range(21):
        table.say(notify(f"later {second}"))
        table.tick(1.0)
    assert table.hang_up(Ending.UNANSWERED)
    (said,) = [effect for effect in table.effects if isinstance(effect, Say)]
    assert (said.event, said.fields["questions"]) == ("question_left_out", SUGGEST)
