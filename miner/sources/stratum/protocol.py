"""One connection's conversation: bytes in, events and bytes out. No socket, no clock, no opinion about jobs.

                 configure_s of silence,
    start()      an answer, or an error             a result            true, or null
   ---------> CONFIGURE ----------------> SUBSCRIBE --------> AUTHORIZE -------------> READY
                 |  (left out where there is          |                   |
                 |   nothing to ask for)              | an error          | false, an error
                 v                                    v                   v
               SUBSCRIBE                     Ended(NOT_SUBSCRIBED)  Ended(NOT_AUTHORIZED)

From any state: Ended(FLOOD), Ended(GARBAGE), Ended(SILENT). Notices are taken in every state, since many pools send
difficulty and work before the answers; answers are matched by id alone, in any order, late ones too. After Ended
nothing more comes out. `receive` raises nothing, whatever the bytes.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from miner.sources.stratum import messages
from miner.sources.stratum.effects import Ending
from miner.sources.stratum.errors import BadLine, BadMessage, FloodOfBytes, LineTooLong
from miner.sources.stratum.lines import Lines, decode, encode
from miner.sources.stratum.messages import Answer, Configured, Notice, Subscribed
from miner.sources.stratum.questions import Question

MIN_BIT_COUNT = 2
MAX_BAD_LINES = 32  # in a row
MAX_REQUESTS = 8192  # unanswered
_EXTENSIONS = {
    "version-rolling": Question.VERSION_ROLLING,
    "minimum-difficulty": Question.MINIMUM,
    "subscribe-extranonce": Question.EXTENSION,
}
METHOD_NOT_FOUND = (20, "Method not found", None)


class Asked(Enum):
    """What a request of ours was."""

    CONFIGURE = auto()
    MASK = auto()  # configure again, for a smaller mask
    SUBSCRIBE = auto()
    AUTHORIZE = auto()
    WORKER = auto()  # authorize one more
    EXTRANONCE = auto()
    SUGGEST = auto()
    SUBMIT = auto()


# ---- events, next to messages.Notice


@dataclass(frozen=True, slots=True)
class MaskGranted:
    """An answer to a configure; 0: no version rolling, None: the pool did not say, what was granted stays."""

    mask: int | None
    again: bool
    refused: bool = False  # the answer was an error


@dataclass(frozen=True, slots=True)
class Joined:
    """Subscribed."""

    result: Subscribed


@dataclass(frozen=True, slots=True)
class Ready:
    """Authorized: shares may be sent."""


@dataclass(frozen=True, slots=True)
class WorkerAnswered:
    """Whether this device's own worker may hand in."""

    device: str
    accepted: bool
    text: str


@dataclass(frozen=True, slots=True)
class OptionAnswered:
    """The answer to mining.extranonce.subscribe or mining.suggest_difficulty. Some pools refuse it and obey it."""

    asked: Asked
    refused: bool


@dataclass(frozen=True, slots=True)
class Submitted:
    """The answer to the mining.submit of this request."""

    request: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Ignored:
    """A line that changed nothing, and why."""

    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Close the connection; the last event."""

    ending: Ending
    text: str


Event = Notice | MaskGranted | Joined | Ready | WorkerAnswered | OptionAnswered | Submitted | Ignored | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to talk to this pool: what the operator decided and what earlier connections taught."""

    user: str = field(repr=False)
    password: str = field(repr=False)
    agent: str
    resume: str | None = None  # session id
    mask: int = 0  # to ask for; 0: do not ask
    minimum_difficulty: float | None = None  # to ask for
    extranonce_extension: bool = True  # whether to ask for it beside one of these
    configure_s: float = 10.0
    answer_s: float = 30.0
    silence_s: float = 180.0


class _State(Enum):
    NEW = auto()
    CONFIGURE = auto()
    SUBSCRIBE = auto()
    AUTHORIZE = auto()
    READY = auto()
    ENDED = auto()


class StratumClient:
    """The sans-I/O client of one connection. Times are seconds on any one monotonic clock."""

    def __init__(self, manner: Manner) -> None:
        self._manner = manner
        self._lines = Lines()
        self._state = _State.NEW
        self._out = bytearray()
        self._next_id = 1
        self._asked: dict[str, Asked] = {}
        self._workers: dict[str, str] = {}  # request -> device
        self._optional: list[frozenset[Question]] = []  # asked since this was last taken, a set for each request
        self._since = 0.0  # when the present state began
        self._heard_at = 0.0
        self._bad_lines = 0
        self._extranonce_granted = False
        self.answers = 0  # how many of our requests were answered
        self.answered_at = 0.0  # when the last of them was, or when the conversation began

    # ---- what can be read

    @property
    def extranonce_granted(self) -> bool:
        """Whether the answer to configure says that the pool may change the extranonce."""
        return self._extranonce_granted

    @property
    def heard_at(self) -> float:
        """When the last bytes came."""
        return self._heard_at

    @property
    def ready(self) -> bool:
        """Whether shares may be sent."""
        return self._state is _State.READY

    @property
    def waiting_for(self) -> frozenset[Asked]:
        """What was asked and not answered."""
        return frozenset(self._asked.values())

    @property
    def held(self) -> int:
        """Bytes in memory for this connection, in and out."""
        return self._lines.held + len(self._out)

    def data_to_send(self) -> bytes:
        """What must go out, in order; forgotten here."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def optional_questions(self) -> list[frozenset[Question]]:
        """The optional questions that went out since the last call, a set for each request."""
        questions, self._optional = self._optional, []
        return questions

    # ---- what happens

    def start(self, now: float) -> None:
        """The connection stands: say the first thing."""
        self._heard_at = self.answered_at = now
        extensions, parameters = self._extensions()
        if extensions:
            questions = frozenset(_EXTENSIONS[extension] for extension in extensions)
            self._ask(Asked.CONFIGURE, "mining.configure", [extensions, parameters], questions)
            self._enter(_State.CONFIGURE, now)
        else:
            self._subscribe(now)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Take bytes as they come; what they mean. Never raises."""
        if self._state is _State.ENDED:
            return []
        self._heard_at = now
        try:
            lines = self._lines.feed(data)
        except FloodOfBytes as error:
            return [self._end(Ending.FLOOD, str(error))]
        events: list[Event] = []
        for line in lines:
            events += self._line(line, now)
            if events and isinstance(events[-1], Ended):
                break
        return events

    def tick(self, now: float) -> list[Event]:
        """Time passed."""
        waited = now - self._since
        match self._state:
            case _State.CONFIGURE if waited >= self._manner.configure_s:
                self._subscribe(now)
                return [MaskGranted(None, again=False)]
            case _State.SUBSCRIBE | _State.AUTHORIZE if waited >= self._manner.answer_s:
                return [self._end(Ending.SILENT, f"no answer for {waited:.0f} s")]
            case _State.NEW | _State.ENDED:
                return []
        if now - self._heard_at >= self._manner.silence_s:
            return [self._end(Ending.SILENT, f"not a byte for {now - self._heard_at:.0f} s")]
        return []

    def submit(self, params: tuple[str | int, ...]) -> str:
        """Send a share; its request id. Raises LineTooLong, which the bounds of options and messages rule out."""
        return self._ask(Asked.SUBMIT, "mining.submit", list(params))

    def ask_mask(self, mask: int, question: Question = Question.MASK) -> None:
        """Configure version rolling once the connection is ready: for other bits, or because it was left out before."""
        parameters = {"version-rolling.mask": f"{mask:08x}", "version-rolling.min-bit-count": _bit_count(mask)}
        self._ask(Asked.MASK, "mining.configure", [["version-rolling"], parameters], {question})

    def subscribe_extranonce(self) -> None:
        """Ask the pool to change the extranonce, should it want to, instead of closing the connection."""
        self._ask(Asked.EXTRANONCE, "mining.extranonce.subscribe", [], {Question.EXTRANONCE})

    def suggest_difficulty(self, difficulty: float) -> None:
        """Ask for a difficulty. ckpool ignores this before authorization; some pools take integers only, from 1 on."""
        number = int(difficulty) if difficulty >= 1 else difficulty
        self._ask(Asked.SUGGEST, "mining.suggest_difficulty", [number], {Question.SUGGEST})

    def authorize_again(self) -> None:
        """The pool has forgotten who we are."""
        self._ask(Asked.AUTHORIZE, "mining.authorize", [self._manner.user, self._manner.password])

    def authorize_worker(self, device: str, user: str, password: str) -> None:
        """One more worker on this connection."""
        request = self._ask(Asked.WORKER, "mining.authorize", [user, password], {Question.WORKERS})
        self._workers[request] = device

    # ---- lines

    def _line(self, line: bytes, now: float) -> list[Event]:
        try:
            message = messages.read(decode(line))
            events = self._answered(message, now) if isinstance(message, Answer) else self._noticed(message)
        except (BadLine, BadMessage) as error:
            self._bad_lines += 1
            if self._bad_lines >= MAX_BAD_LINES:
                return [self._end(Ending.GARBAGE, f"{self._bad_lines} bad lines in a row, the last: {error}")]
            return [Ignored(str(error))]
        self._bad_lines = 0
        return events

    def _noticed(self, notice: Notice) -> list[Event]:
        match notice:
            case messages.Ping(id_):
                self._reply(id_, "pong", None)
            case messages.VersionAsked(id_):
                self._reply(id_, self._manner.agent, None)
            case messages.Unknown(_, id_):
                self._reply(id_, None, METHOD_NOT_FOUND)
        return [notice]

    def _answered(self, answer: Answer, now: float) -> list[Event]:
        asked = self._asked.pop(answer.id, None)
        if asked is not None:
            self.answers += 1
            self.answered_at = now
        match asked:
            case None:
                return [Ignored(f"an answer to a request that is not waiting: {answer.id}")]
            case Asked.CONFIGURE | Asked.MASK:
                return self._on_configured(answer, asked, now)
            case Asked.SUBSCRIBE:
                return self._on_subscribed(answer, now)
            case Asked.AUTHORIZE:
                return self._on_authorized(answer, now)
            case Asked.WORKER:
                accepted = not answer.refused and answer.result in (True, None)
                return [WorkerAnswered(self._workers.pop(answer.id), accepted, "" if accepted else _said(answer))]
            case Asked.SUBMIT:
                return [Submitted(answer.id, answer)]
            case Asked.EXTRANONCE | Asked.SUGGEST:
                return [OptionAnswered(asked, answer.refused)]

    def _on_configured(self, answer: Answer, asked: Asked, now: float) -> list[Event]:
        """Silence, an error and null all mean no; for a second configure they mean that nothing has changed."""
        granted: Configured | None = None
        events: list[Event] = []
        if not answer.refused and answer.result is not None:
            try:
                granted = messages.configured(answer.result)
            except BadMessage as error:
                events.append(Ignored(str(error)))
        if asked is Asked.MASK:
            return [*events, MaskGranted(granted.mask if granted else None, again=True, refused=answer.refused)]
        if granted is not None and granted.subscribe_extranonce:
            self._extranonce_granted = True
        if self._state is _State.CONFIGURE:
            self._subscribe(now)
        mask = granted.mask & self._manner.mask if granted else 0
        return [*events, MaskGranted(mask, again=False, refused=answer.refused)]

    def _on_subscribed(self, answer: Answer, now: float) -> list[Event]:
        if answer.refused:
            return [self._end(Ending.NOT_SUBSCRIBED, f"subscribe was refused: {_said(answer)}")]
        try:
            result = messages.subscribed(answer.result)
        except BadMessage as error:
            return [self._end(Ending.NOT_SUBSCRIBED, str(error))]
        self._ask(Asked.AUTHORIZE, "mining.authorize", [self._manner.user, self._manner.password])
        self._enter(_State.AUTHORIZE, now)
        return [Joined(result)]

    def _on_authorized(self, answer: Answer, now: float) -> list[Event]:
        """True; or null without an error (p2pool)."""
        if answer.refused or answer.result not in (True, None):
            return [self._end(Ending.NOT_AUTHORIZED, f"the user was refused: {_said(answer)}")]
        if self._state is not _State.AUTHORIZE:
            return []
        self._enter(_State.READY, now)
        return [Ready()]

    # ---- ours

    def _extensions(self) -> tuple[list[str], dict[str, Any]]:
        manner = self._manner
        extensions: list[str] = []
        parameters: dict[str, Any] = {}
        if manner.mask:
            extensions.append("version-rolling")
            parameters["version-rolling.mask"] = f"{manner.mask:08x}"
            parameters["version-rolling.min-bit-count"] = _bit_count(manner.mask)  # BIP 310 wants it, few send it
        if manner.minimum_difficulty is not None:
            extensions.append("minimum-difficulty")
            parameters["minimum-difficulty.value"] = manner.minimum_difficulty
        if extensions and manner.extranonce_extension:
            extensions.append("subscribe-extranonce")
        return extensions, parameters

    def _subscribe(self, now: float) -> None:
        resume = [self._manner.resume] if self._manner.resume is not None else []
        optional = {Question.RESUME} if resume else set()
        self._ask(Asked.SUBSCRIBE, "mining.subscribe", [self._manner.agent, *resume], optional)
        self._enter(_State.SUBSCRIBE, now)

    def _ask(self, asked: Asked, method: str, params: list[Any], optional: AbstractSet[Question] = frozenset()) -> str:
        """Send a request; its id. Ids are small numbers from 1 on: a request without one makes Ocean hang up."""
        if optional:
            self._optional.append(frozenset(optional))
        request = str(self._next_id)
        self._out += encode({"id": self._next_id, "method": method, "params": params})
        self._next_id += 1
        self._asked[request] = asked
        if len(self._asked) > MAX_REQUESTS:
            del self._asked[next(iter(self._asked))]
        return request

    def _reply(self, id_: Any, result: str | None, error: tuple[int, str, None] | None) -> None:
        """Answer a request of theirs, if its id is one that can be sent back."""
        if isinstance(id_, bool) or not isinstance(id_, (int, str, float)) or not _finite(id_):
            return
        try:
            self._out += encode({"id": id_, "result": result, "error": error})
        except LineTooLong:
            return

    def _enter(self, state: _State, now: float) -> None:
        self._state = state
        self._since = now

    def _end(self, ending: Ending, text: str) -> Ended:
        self._state = _State.ENDED
        return Ended(ending, text)


def _finite(id_: float | str) -> bool:
    return isinstance(id_, str) or math.isfinite(id_)


def _bit_count(mask: int) -> int:
    return min(MIN_BIT_COUNT, mask.bit_count())


def _said(answer: Answer) -> str:
    return answer.text or (f"error {answer.code}" if answer.code is not None else "without a reason")
