"""One client's conversation with the virtual pool: bytes in, messages out, no socket and no clock of its own."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol

from tests.virtual.pool_judge import Reason, Rolling, Rules, SentJob, Submission, Verdict, judge, target_of
from tests.virtual.pool_terms import Reask, Resume, Suggested, Terms, WorkFrom
from tests.virtual.pool_work import Template

if TYPE_CHECKING:
    from tests.virtual.pool_model import Pool

KEPT_JOBS = 64  # of one client
KEPT_IDS = 1 << 16
METHOD_NOT_FOUND = -3
Message = dict[str, Any]
Fault = Callable[["Call"], None]


class Wire(Protocol):
    """The connection under a session."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...
    def later(self, delay_s: float, call: Callable[[], None]) -> None: ...


@dataclass(slots=True)
class Seat:
    """What outlives a connection, so that a session can be resumed."""

    id: str
    extranonce1: str
    extranonce2_size: int
    jobs: OrderedDict[str, SentJob] = field(default_factory=OrderedDict)


@dataclass(slots=True)
class Call:
    """One message about to be acted on or sent, as a fault meets it; `message` has no method before the first line."""

    session: Session
    message: Message
    _perform: Callable[[], None]

    def honestly(self) -> None:
        self._perform()

    def captured(self) -> list[Message]:
        """Act honestly, and give back what would have been said."""
        return self.session.captured(self._perform)


class Session:
    def __init__(self, pool: Pool, wire: Wire, number: int) -> None:
        self.pool = pool
        self.wire = wire
        self.number = number
        self.seat: Seat | None = None
        self.users: dict[str, str] = {}  # authorized, with the password each came with
        self.agent: object = None
        self.rolling: Rolling | None = None
        self.mask = 0
        self.configured = 0  # times
        self.difficulty = pool.terms.difficulty
        self.minimum_difficulty = 0.0
        self.working = False  # gets jobs
        self.muted = False
        self.unread = False  # what comes is not looked at
        self.broken = False  # a rule that ends the connection
        self.held: list[Message] = []  # answers of a fault that gives them out later
        self.ids: set[str] = set()
        self._rest = b""
        self._captured: list[Message] | None = None
        self._share_times: list[float] = []

    @property
    def terms(self) -> Terms:
        return self.pool.terms

    # ---- in

    def receive(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if max(map(len, [*lines, self._rest])) >= self.terms.line_limit:
            self._broke("line_too_long")
            return
        for line in filter(None, map(bytes.strip, lines)):
            if not self.broken and not self.unread:
                self._handle(line)

    def _handle(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            self._broke("not_json")
            return
        if not isinstance(message, dict):
            self._broke("not_an_object")
            return
        self.pool.heard(self, message)
        if "method" not in message:
            return  # an answer to a question of ours
        identity = message.get("id")
        if identity is None:
            self._broke("request_without_id")  # Ocean hangs up as well
            return
        if str(identity) in self.ids:
            self.pool.violations["id_used_twice"] += 1
        if len(self.ids) >= KEPT_IDS:
            self.ids.clear()
        self.ids.add(str(identity))
        self.pool.meet(Call(self, message, lambda: self._act(message)), str(message["method"]))

    def _broke(self, rule: str) -> None:
        self.broken = True
        self.pool.violations[rule] += 1
        self.wire.close()

    # ---- out

    def say(self, *messages: Message) -> None:
        if self._captured is not None:
            self._captured.extend(messages)
            return
        for message in messages:
            self.pool.said(self, message)
            self.write(self.terms.delivery.line(message))

    def write(self, data: bytes) -> None:
        if not self.muted:
            self.wire.write(data)

    def captured(self, act: Callable[[], None]) -> list[Message]:
        outer, self._captured = self._captured, []
        try:
            act()
            return self._captured
        finally:
            self._captured = outer

    def answer(self, message: Message, result: object, error: object = None) -> None:
        error = self.terms.no_error if error is None else error
        self.say({"id": self._identity(message), "result": result, "error": error})

    def refuse(self, message: Message, code: int, text: str) -> None:
        self.say(self.terms.error_shape.answer(self._identity(message), code, text))

    def notice(self, method: str, params: Any) -> None:
        """A message that no request asked for; faults of that method meet it on its way."""
        message = {"id": None, "method": method, "params": params}
        self.pool.meet(Call(self, message, lambda: self.say(message)), method)

    def _identity(self, message: Message) -> object:
        return self.terms.delivery.ids(message.get("id"))

    # ---- work

    def send_difficulty(self, difficulty: float | None = None) -> None:
        """What the client is to have from its next job on, never below what it asked for as the minimum."""
        self.difficulty = max(self.difficulty if difficulty is None else difficulty, self.minimum_difficulty)
        self.notice("mining.set_difficulty", [self.difficulty])

    def send_job(self, template: Template, *, first: bool = False) -> None:
        seat = self.seat
        if seat is None:
            return
        params = template.params(len(seat.extranonce1) // 2 + seat.extranonce2_size)
        if first:
            params[8] = True
        difficulty = self.difficulty
        before = seat.jobs.get(template.id)
        if before is not None and before.params == params and before.extranonce1 == seat.extranonce1:
            difficulty = min(difficulty, before.difficulty)  # clients may ignore a job that they have
        seat.jobs[template.id] = SentJob(
            params, seat.extranonce1, seat.extranonce2_size, difficulty, self.pool.generation, self.pool.clock()
        )
        seat.jobs.move_to_end(template.id)
        while len(seat.jobs) > KEPT_JOBS:
            seat.jobs.popitem(last=False)
        self.notice("mining.notify", self.terms.notify(params))

    def _begin_work(self) -> None:
        self.working = True
        self.send_difficulty()
        self.send_job(self.pool.template, first=True)

    # ---- requests

    def _act(self, message: Message) -> None:
        params = message.get("params")
        if not isinstance(params, list):
            self.refuse(message, *Reason.MALFORMED.value)
            return
        try:
            self._answer_to(message, params)
        except (ValueError, TypeError, LookupError):
            self.pool.violations[f"malformed_{message['method']}"] += 1
            self.refuse(message, *Reason.MALFORMED.value)

    def _answer_to(self, message: Message, params: list[Any]) -> None:
        match message["method"]:
            case "mining.configure":
                self._configure(message, params)
            case "mining.subscribe":
                self._subscribe(message, params)
            case "mining.authorize":
                self._authorize(message, params)
            case "mining.submit":
                self._submit(message, params)
            case "mining.extranonce.subscribe":
                self.answer(message, result=True)
            case "mining.suggest_difficulty":
                self._suggest(message, params)
            case method:
                self.refuse(message, METHOD_NOT_FOUND, f"Method '{method}' not found.")

    def _configure(self, message: Message, params: list[Any]) -> None:
        self.configured += 1
        again = self.configured > 1
        if again and self.terms.reask is Reask.SILENCE:
            return
        if again and self.terms.reask is Reask.REFUSE:
            self.refuse(message, 20, "Already configured")
            return
        names, wishes = (*params, {}, {})[:2]
        if not isinstance(names, list) or not isinstance(wishes, dict):
            self.refuse(message, *Reason.MALFORMED.value)
            return
        result: dict[str, Any] = {}
        for name in names:
            result |= self._extension(str(name), wishes, again=again)
        self.answer(message, result)

    def _extension(self, name: str, wishes: Mapping[str, Any], *, again: bool) -> Message:
        match name:
            case "version-rolling" if self.terms.rolling is not None:
                if "version-rolling.min-bit-count" not in wishes:
                    self.pool.violations["no_min_bit_count"] += 1
                if not (again and self.terms.reask is Reask.SAME):
                    wished = int(str(wishes.get("version-rolling.mask", "ffffffff")), 16)
                    mask = wished & self.terms.mask
                    if mask.bit_count() < int(wishes.get("version-rolling.min-bit-count", 0)):
                        return {name: "mask too small"}
                    self.rolling, self.mask = self.terms.rolling, mask
                return {name: True, "version-rolling.mask": f"{self.mask:08x}"}
            case "minimum-difficulty":
                self.minimum_difficulty = float(wishes.get("minimum-difficulty.value", "missing"))
                return {name: True}
            case "subscribe-extranonce" | "info":
                return {name: True}
            case _:
                return {name: False}

    def _subscribe(self, message: Message, params: list[Any]) -> None:
        self.agent, earlier = (*params, None, None)[:2]
        if earlier is not None and self.terms.resume is Resume.REFUSE:
            self.refuse(message, 20, "Too many parameters")
            return
        self.seat = self.pool.seat(earlier if isinstance(earlier, str) else None)
        pairs: Any = [["mining.set_difficulty", self.seat.id], ["mining.notify", self.seat.id]]
        if self.terms.flat_subscriptions:
            pairs = pairs[1]
        if self.terms.work_from is WorkFrom.BEFORE_SUBSCRIBED:
            self._begin_work()
        self.answer(message, [pairs, self.seat.extranonce1, self.seat.extranonce2_size])
        if self.terms.work_from is WorkFrom.SUBSCRIBED:
            self._begin_work()

    def _authorize(self, message: Message, params: list[Any]) -> None:
        user, password = (*map(str, params), "", "")[:2]
        known = self.terms.users
        if known is not None and (user not in known or known[user] != password):
            self.answer(message, result=False)
            return
        self.users[user] = password
        self.answer(message, None if self.terms.null_authorized else True)
        if self.terms.work_from is WorkFrom.AUTHORIZED and not self.working and self.seat is not None:
            self._begin_work()

    def _suggest(self, message: Message, params: list[Any]) -> None:
        if self.terms.suggested is Suggested.COMPLAIN:
            self.refuse(message | {"id": None}, 20, "Unknown method")
            return
        wished = float(params[0])
        target_of(wished)  # raises for what is no difficulty
        self.answer(message, result=True)
        if self.terms.suggested is Suggested.HONOUR:
            self.send_difficulty(wished)

    def _submit(self, message: Message, params: list[Any]) -> None:
        verdict = self._verdict(params)
        self.pool.books.enter(verdict)
        if verdict.reason is None:
            self.answer(message, result=True)
        else:
            self.say(self.terms.refusal(self._identity(message), verdict.reason))
        if verdict.accepted and self.terms.vardiff is not None:
            self._retarget()

    def _verdict(self, params: list[Any]) -> Verdict:
        share = Submission.read(params)
        user, job = (*(each if isinstance(each, str) else "" for each in params), "", "")[:2]
        if self.seat is None:
            return Verdict(user, job, Reason.NOT_SUBSCRIBED, Fraction(0))
        if share is None:
            return Verdict(user, job, Reason.MALFORMED, Fraction(0))
        if share.user not in self.users:
            return Verdict(user, job, Reason.UNAUTHORIZED, Fraction(0))
        rules = Rules(
            rolling=self.rolling,
            mask=self.mask,
            generation=self.pool.generation,
            difficulty=self.difficulty if self.terms.applies_at_once else None,
            latest_ntime=int(self.pool.clock()) + self.terms.ntime_ahead_s,
            blocks_count=self.terms.blocks_count,
        )
        return judge(share, self.seat.jobs.get(share.job), rules, self.pool.seen)

    def _retarget(self) -> None:
        vardiff = self.terms.vardiff
        assert vardiff is not None
        self._share_times.append(self.pool.clock())
        if len(self._share_times) <= vardiff.window:
            return
        took = self._share_times[-1] - self._share_times[0]
        ratio = vardiff.interval_s * vardiff.window / max(took, 1e-6)
        wanted = self.difficulty * max(min(ratio, vardiff.step), 1 / vardiff.step)
        self._share_times.clear()
        self.send_difficulty(max(min(wanted, vardiff.maximum), vardiff.minimum))

    # ---- at the pool's own will

    def set_extranonce(self, extranonce1: str, extranonce2_size: int) -> None:
        """For the next job; those sent keep what they had."""
        if self.seat is not None:
            self.seat.extranonce1, self.seat.extranonce2_size = extranonce1, extranonce2_size
            self.notice("mining.set_extranonce", [extranonce1, extranonce2_size])

    def set_version_mask(self, mask: int) -> None:
        """From now on, for every job."""
        if self.rolling is not None:
            self.mask = mask
            self.notice("mining.set_version_mask", [f"{mask:08x}"])
