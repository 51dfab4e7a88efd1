"""Which optional questions a pool is asked: one that it hangs up on is left out.

Nothing in the protocol says "do not ask me that". Some pools close the connection instead, some go deaf. What is known
of each question, over all connections of one pool:

           closed or deaf after it           the next connection stands
      FREE -----------------------> DOUBTED ---------------------------> RETURNED --> closed again: REFUSED
       ^                               | left out                           | asked again
       |                               | closed all the same                | answered, or the pool went on for a while
       +-------------------------------+------------------------------------+

A close may have several questions behind it that were under way together. All of them become DOUBTED, and then they
come back one after the other, so that the second close names one question. A pool that closes once by chance loses
nothing for longer than a few seconds of the next connection. REFUSED lasts until the miner ends: asking anew after a
start costs a second, and finds out that a pool has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

HANGS_UP_S = 5.0  # a pool that closes so soon after a question does not want it
LATE_S = 60.0  # the same, where it happens twice in a row


class Question(StrEnum):
    """A question that may be left out, as the log calls it. In the order in which they come back."""

    VERSION_ROLLING = "mining.configure version-rolling"
    EXTRANONCE = "mining.extranonce.subscribe"
    SUGGEST = "mining.suggest_difficulty"
    MASK = "a second mining.configure"
    WORKERS = "mining.authorize for further devices"
    RESUME = "mining.subscribe with a session id"
    MINIMUM = "mining.configure minimum-difficulty"
    EXTENSION = "mining.configure subscribe-extranonce"


WITHOUT = {
    Question.VERSION_ROLLING: "devices do not roll version bits",
    Question.EXTRANONCE: "the pool cannot change the extranonce within a connection",
    Question.SUGGEST: "the pool chooses the difficulty",
    Question.MASK: "how the pool reads version bits is found out with shares, some of which it may refuse",
    Question.WORKERS: "shares of all devices are handed in for the first device's worker",
    Question.RESUME: "shares under way are lost when the connection is",
    Question.MINIMUM: "the pool does not know the least difficulty",
    Question.EXTENSION: "mining.extranonce.subscribe is sent instead",
}
_CONFIGURE = frozenset({Question.VERSION_ROLLING, Question.MINIMUM, Question.EXTENSION})
_ASKED_ANY_TIME = frozenset({Question.VERSION_ROLLING, Question.EXTRANONCE, Question.SUGGEST})


class Loss(Enum):
    """How a connection ended."""

    CLOSED = auto()  # by the pool, or it refused to let us join
    DEAF = auto()  # the pool said nothing any more
    OTHER = auto()  # for a reason that has nothing to do with questions


class _Standing(Enum):
    DOUBTED = auto()
    RETURNED = auto()
    REFUSED = auto()


_OPEN = frozenset({_Standing.DOUBTED, _Standing.RETURNED})


@dataclass(slots=True)
class _Message:
    """A request with optional questions in it that have no good answer yet."""

    questions: frozenset[Question]
    at: float
    refused: bool = False  # answered with an error, after which some pools close


class Questions:
    """What is known of one pool, and what is under way on its present connection. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._standings: dict[Question, _Standing] = {}  # not there: FREE
        self._slow: set[Question] = set()  # doubted for a close that came late
        self._late: frozenset[Question] = frozenset()  # unanswered when the connection before was closed late
        self._open: list[_Message] = []
        self._cleared: set[Question] = set()

    # ---- what can be read

    def asks(self, question: Question) -> bool:
        """Whether to ask this."""
        return self._standings.get(question) not in (_Standing.DOUBTED, _Standing.REFUSED)

    def refused(self, question: Question) -> bool:
        """Whether this is left out for good."""
        return self._standings.get(question) is _Standing.REFUSED

    @property
    def settled(self) -> bool:
        """Whether no question may come back, and none has just come back for good."""
        return not self._cleared and _OPEN.isdisjoint(self._standings.values())

    @property
    def left_out(self) -> frozenset[Question]:
        """What is not asked."""
        return frozenset(question for question in Question if not self.asks(question))

    def busy(self, now: float) -> bool:
        """Whether the pool may still close for a question, so that another one should wait."""
        return any(not message.refused and now - message.at < self._patience(message) for message in self._open)

    # ---- what happens

    def asked(self, now: float, *questions: Question) -> None:
        """A request with these questions went out."""
        if questions:
            self._open.append(_Message(frozenset(questions), now))

    def answered(self, question: Question, *, taken: bool) -> None:
        """The oldest request with this question was answered; `taken` is False for an error."""
        for message in self._open:
            if question in message.questions and not message.refused:
                if taken:
                    message.questions -= {question}
                    self._clear(question)
                else:
                    message.refused = True
                break
        self._open = [message for message in self._open if message.questions]

    def tick(self, now: float, heard_at: float) -> frozenset[Question]:
        """Time passed; the pool last spoke at `heard_at`. Which questions came back for good since the last call."""
        for message in self._open:
            if min(now, heard_at) - message.at >= self._patience(message):
                for question in message.questions:
                    self._clear(question)
        cleared, self._cleared = frozenset(self._cleared), set()
        return cleared

    def give_back(self, now: float, stood_s: float) -> Question | None:
        """Let one question come back on a connection that is ready since `stood_s`; which one to ask now, if any.

        Version rolling is worth most and comes back at once, the others once the connection has proved to stand. The
        answer is None, too, for a question that is asked again when there is a reason to.
        """
        if self.busy(now):
            return None
        for question in Question:
            if self._standings.get(question) is not _Standing.DOUBTED:
                continue
            if question is not Question.VERSION_ROLLING and stood_s < HANGS_UP_S:
                continue
            if question in _CONFIGURE and any(
                self._standings.get(other) is _Standing.RETURNED for other in _CONFIGURE
            ):  # one at a time, for they share a request
                continue
            self._standings[question] = _Standing.RETURNED
            if question in _ASKED_ANY_TIME:
                return question
        return None

    def lost(self, how: Loss, now: float, *, heard_at: float, ready: bool) -> frozenset[Question]:
        """The connection is gone, before or after it was ready; which questions are left out from now on."""
        messages, self._open = self._open, []
        if how is Loss.OTHER:
            return frozenset()
        before = self.left_out
        suspects = [message for message in messages if self._suspicious(message, how, now, heard_at, ready=ready)]
        if suspects:
            self._late = frozenset()
        else:
            suspects = self._twice_late(messages, now)
        if suspects:
            self._blame(suspects, now)
        elif not ready:  # it was not the questions that were left out
            self._standings = {
                question: standing for question, standing in self._standings.items() if standing is _Standing.REFUSED
            }
        return self.left_out - before

    # ---- who it was

    def _suspicious(self, message: _Message, how: Loss, now: float, heard_at: float, *, ready: bool) -> bool:
        if not ready and not message.refused:
            return True
        return (heard_at if how is Loss.DEAF else now) - message.at < self._patience(message)

    def _twice_late(self, messages: list[_Message], now: float) -> list[_Message]:
        unanswered = (message for message in messages if not message.refused and now - message.at < LATE_S)
        late = frozenset(question for message in unanswered for question in message.questions)
        again, self._late = late & self._late, late
        return [_Message(again, now - LATE_S)] if again else []

    def _blame(self, suspects: list[_Message], now: float) -> None:
        """Pools answer in order: if the oldest request brought back a question that was doubted, it is that one."""
        returned = {
            question for question in suspects[0].questions if self._standings.get(question) is _Standing.RETURNED
        }
        for message in suspects[1:] if returned else suspects:
            for question in message.questions:
                self._standings[question] = _Standing.DOUBTED
        for message in suspects:
            if now - message.at >= HANGS_UP_S:
                self._slow |= message.questions
        for question in returned:
            self._standings[question] = _Standing.REFUSED

    def _patience(self, message: _Message) -> float:
        return LATE_S if message.questions & self._slow else HANGS_UP_S

    def _clear(self, question: Question) -> None:
        if self._standings.get(question) is _Standing.RETURNED:
            del self._standings[question]
            self._cleared.add(question)
