"""The virtual pool without sockets: what all its clients share. A test with a fake clock can drive it as it is.

pool = Pool(Terms(rolling=Rolling.XOR), clock=lambda: now)
session = pool.connect(wire)            wire: anything that writes, closes, resets and calls later
session.receive(b'{"id": 1, ...}\n')
pool.new_job(clean=True)
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.virtual.pool_judge import Books
from tests.virtual.pool_session import Call, Fault, Message, Seat, Session, Wire
from tests.virtual.pool_terms import Resume, Terms
from tests.virtual.pool_work import Chain, Template

KEPT_SEATS = 256
KEPT_MESSAGES = 1 << 14
CONNECT = "connect"  # the step of a connection before its first line


@dataclass(slots=True)
class Heard:
    """A message of a client."""

    session: int
    at: float
    message: Message


@dataclass(slots=True)
class Pool:
    terms: Terms = field(default_factory=Terms)  # may be replaced at any time
    clock: Callable[[], float] = time.time
    books: Books = field(default_factory=Books)
    generation: int = 0
    sessions: list[Session] = field(default_factory=list)  # connected now
    connections: int = 0  # ever
    violations: Counter[str] = field(default_factory=Counter)  # rules that clients broke
    heard_messages: deque[Heard] = field(default_factory=lambda: deque(maxlen=KEPT_MESSAGES))
    said_messages: Counter[str] = field(default_factory=Counter)  # by method; answers as "answer"
    template: Template = field(init=False)
    _chain: Chain = field(default_factory=Chain)
    _seats: OrderedDict[str, Seat] = field(default_factory=OrderedDict)
    _seen: set[bytes] = field(default_factory=set)
    _faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    _standing: dict[str, Fault] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.new_job(clean=True)

    # ---- clients

    def connect(self, wire: Wire) -> Session:
        self.connections += 1
        session = Session(self, wire, self.connections)
        self.sessions.append(session)
        self.meet(Call(session, {}, lambda: None), CONNECT)
        return session

    def lost(self, session: Session) -> None:
        self.sessions.remove(session)

    def seat(self, earlier: str | None) -> Seat:
        """The seat of an earlier session if it is asked for and given, else a new one."""
        kept = self._seats.get(earlier or "")
        if kept is not None and self.terms.resume is Resume.SAME_EXTRANONCE:
            return kept
        number = next(self._numbers)
        seat = Seat(f"{number:016x}", self.fresh_extranonce(number), self.terms.extranonce2_size)
        self._seats[seat.id] = seat
        while len(self._seats) > KEPT_SEATS:
            self._seats.popitem(last=False)
        return seat

    def fresh_extranonce(self, number: int | None = None) -> str:
        size = self.terms.extranonce1_size
        number = next(self._numbers) if number is None else number
        return (0x51_0000_0000 + number).to_bytes(16, "big")[16 - size :].hex() if size else ""

    def seen(self, header: bytes) -> bool:
        """Whether a share with this header was accepted before on the present parent; remembered from now on."""
        if header in self._seen:
            return True
        self._seen.add(header)
        return False

    def heard(self, session: Session, message: Message) -> None:
        self.heard_messages.append(Heard(session.number, self.clock(), message))

    def said(self, session: Session, message: Message) -> None:
        self.said_messages[message.get("method", "answer")] += 1

    # ---- faults

    def on(self, step: str, *faults: Fault) -> None:
        """The next messages of this step meet these, one each.

        A step is a method, of either side, or `CONNECT`.
        """
        self._faults[step].extend(faults)

    def always(self, step: str, fault: Fault) -> None:
        self._standing[step] = fault

    def heal(self) -> None:
        self._faults.clear()
        self._standing.clear()

    def meet(self, call: Call, step: str) -> None:
        waiting = self._faults[step]
        fault = waiting.popleft() if waiting else self._standing.get(step)
        if fault is None:
            call.honestly()
        else:
            fault(call)

    # ---- what the pool does of itself

    def new_job(self, *, clean: bool = False, job_id: str | None = None, **changes: Any) -> Template:
        """Give everybody a job; `changes` are version, nbits, ntime, branches, payout_script or layout."""
        terms = self.terms
        fields: dict[str, Any] = {
            "ntime": int(self.clock()),
            "version": terms.version,
            "nbits": terms.nbits,
            "branches": terms.branches,
            "payout_script": terms.payout_script,
            "layout": terms.layout,
        }
        return self.give(self._chain.template(clean=clean, job_id=job_id, **fields | changes))

    def give(self, template: Template) -> Template:
        """Give everybody this job, recorded ones too."""
        self.template = template
        if template.clean:
            self.generation += 1
            self._seen.clear()
        for session in self._at_work():
            session.send_job(template)
        return template

    def repeat_job(self) -> None:
        """The present job again, under its id."""
        for session in self._at_work():
            session.send_job(self.template)

    def set_difficulty(self, difficulty: float) -> None:
        for session in self._at_work():
            session.send_difficulty(difficulty)

    def set_extranonce(self, extranonce2_size: int | None = None) -> None:
        """A new extranonce1 for everybody; the next job is the first with it."""
        for session in self._at_work():
            session.set_extranonce(self.fresh_extranonce(), extranonce2_size or self.terms.extranonce2_size)

    def set_version_mask(self, mask: int) -> None:
        for session in self._at_work():
            session.set_version_mask(mask)

    def notice(self, method: str, params: Any) -> None:
        """Any notification to everybody, whatever it says: client.reconnect, client.show_message, nonsense."""
        for session in list(self.sessions):
            session.notice(method, params)

    def ask(self, method: str, identity: object = 42) -> None:
        """A question to everybody: client.get_version, mining.ping. Answers are in `heard_messages`."""
        for session in list(self.sessions):
            session.say({"id": identity, "method": method, "params": []})

    def write(self, data: bytes) -> None:
        """Bytes to everybody."""
        for session in list(self.sessions):
            session.write(data)

    def reset(self) -> None:
        """RST to everybody."""
        for session in list(self.sessions):
            session.wire.reset()

    def hang_up(self) -> None:
        for session in list(self.sessions):
            session.wire.close()

    def mute(self) -> None:
        """Connections stay open and nothing is ever said on them again."""
        for session in self.sessions:
            session.muted = True

    def answers(self) -> list[Message]:
        """What clients answered to questions."""
        return [heard.message for heard in self.heard_messages if "method" not in heard.message]

    def requests(self, method: str) -> list[Message]:
        return [heard.message for heard in self.heard_messages if heard.message.get("method") == method]

    def _at_work(self) -> list[Session]:
        return [session for session in self.sessions if session.working]


__all__ = ["CONNECT", "Heard", "Pool", "Terms"]
