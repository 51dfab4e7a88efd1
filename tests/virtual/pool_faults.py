"""What a bad pool does, as values: `pool.on("mining.submit", Cut(), Late(0.2))`, one fault to one message.

A fault of a request decides whether it is acted on and what is answered; a fault of a notification
(`pool.on("mining.notify", ...)`) what becomes of it on its way.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.virtual.pool_model import Pool
from tests.virtual.pool_session import Call, Message

# ---- of the connection


@dataclass(frozen=True, slots=True)
class Reset:
    """RST; `after`: the message was acted on, and what was to be said is lost."""

    after: bool = False

    def __call__(self, call: Call) -> None:
        if self.after:
            call.captured()
        call.session.wire.reset()


@dataclass(frozen=True, slots=True)
class Close:
    """An orderly end; `after` as with Reset."""

    after: bool = False

    def __call__(self, call: Call) -> None:
        if self.after:
            call.captured()
        call.session.wire.close()


@dataclass(frozen=True, slots=True)
class Cut:
    """Part of what was to be said, then RST."""

    part: float = 0.5

    def __call__(self, call: Call) -> None:
        session = call.session
        data = b"".join(session.terms.delivery.line(message) for message in call.captured())
        session.write(data[: int(len(data) * self.part)])
        session.muted = session.broken = True
        session.wire.later(0.02 if data else 0.0, session.wire.reset)  # an RST at once would take the part with it


@dataclass(frozen=True, slots=True)
class Deaf:
    """Nothing more is said on this connection, which stays open."""

    def __call__(self, call: Call) -> None:
        call.session.muted = True


@dataclass(frozen=True, slots=True)
class Unread:
    """The receiving half of this connection has died: no line is read from now on, and jobs go on being sent."""

    def __call__(self, call: Call) -> None:
        call.session.unread = True


# ---- of questions that a pool does not want


def _extension(name: str) -> Callable[[Call], bool]:
    return lambda call: call.message["method"] == "mining.configure" and name in call.message["params"][0]


def _further_worker(call: Call) -> bool:
    users = call.session.users
    return call.message["method"] == "mining.authorize" and bool(users) and call.message["params"][0] not in users


OPTIONAL: dict[str, Callable[[Call], bool]] = {
    "version-rolling": _extension("version-rolling"),
    "minimum-difficulty": _extension("minimum-difficulty"),
    "subscribe-extranonce": _extension("subscribe-extranonce"),
    "second configure": lambda call: call.message["method"] == "mining.configure" and call.session.configured > 0,
    "resume": lambda call: call.message["method"] == "mining.subscribe" and len(call.message["params"]) > 1,
    "extranonce": lambda call: call.message["method"] == "mining.extranonce.subscribe",
    "suggest": lambda call: call.message["method"] == "mining.suggest_difficulty",
    "workers": _further_worker,
}
OPTIONAL_STEPS = (
    "mining.configure",
    "mining.subscribe",
    "mining.authorize",
    "mining.extranonce.subscribe",
    "mining.suggest_difficulty",
)


@dataclass(frozen=True, slots=True)
class HangsUpOn:
    """Ends the connection for each optional question of these.

    `how`: close, error (and close), late (close after 8 s), deaf (nothing more is said), or unread (nothing more is
    read, and jobs go on being sent).
    """

    names: frozenset[str]
    how: str = "close"

    def __call__(self, call: Call) -> None:
        session = call.session
        if not any(OPTIONAL[name](call) for name in self.names):
            call.honestly()
            return
        match self.how:
            case "late":
                session.wire.later(8.0, session.wire.close)
                return
            case "deaf":
                session.muted = True
                return
            case "unread":
                session.unread = True
                return
            case "error":
                session.refuse(call.message, 20, "Unknown method")
        session.broken = True
        session.wire.close()

    def install(self, pool: Pool) -> None:
        for step in OPTIONAL_STEPS:
            pool.always(step, self)


# ---- of the answer


@dataclass(frozen=True, slots=True)
class Ignored:
    """Neither acted on nor answered."""

    def __call__(self, call: Call) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Acted on, and not answered."""

    def __call__(self, call: Call) -> None:
        call.captured()


@dataclass(frozen=True, slots=True)
class Late:
    """Acted on at once, said after so many seconds."""

    seconds: float

    def __call__(self, call: Call) -> None:
        messages = call.captured()
        call.session.wire.later(self.seconds, lambda: call.session.say(*messages))


@dataclass(frozen=True, slots=True)
class Twice:
    def __call__(self, call: Call) -> None:
        messages = call.captured()
        call.session.say(*messages, *messages)


@dataclass(frozen=True, slots=True)
class Instead:
    """An answer that has nothing to do with the request."""

    result: Any = None
    error: Any = None

    def __call__(self, call: Call) -> None:
        call.session.answer(call.message, self.result, self.error)


@dataclass(frozen=True, slots=True)
class Refused:
    """Not acted on; an error in the pool's shape."""

    code: int = -3
    text: str = "Method not found"

    def __call__(self, call: Call) -> None:
        call.session.refuse(call.message, self.code, self.text)


@dataclass(frozen=True, slots=True)
class Changed:
    """Acted on, and each message said is changed on its way."""

    change: Callable[[Message], Message]

    def __call__(self, call: Call) -> None:
        call.session.say(*map(self.change, call.captured()))


@dataclass(frozen=True, slots=True)
class Backwards:
    """Answers are held until there are so many, then given in the opposite order; fewer after `patience_s`."""

    batch: int = 4
    patience_s: float = 0.1

    def __call__(self, call: Call) -> None:
        session = call.session
        session.held.extend(call.captured())

        def release() -> None:
            messages, session.held = session.held[::-1], []
            session.say(*messages)

        if len(session.held) >= self.batch:
            release()
        else:
            session.wire.later(self.patience_s, release)


# What a pool does with every share while `pool.always("mining.submit", SPELLS[...])` holds; `pool.heal()` ends it.
SPELLS: dict[str, Callable[[Call], None]] = {
    "frozen": Ignored(),
    "takes shares and loses the answers": Unanswered(),
    "receiving half dead": Unread(),
    "refuses everything": Refused(23, "Low difficulty share"),
    "long latency": Late(8.0),
}


# ---- around the answer


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes before what is said."""

    data: bytes

    def __call__(self, call: Call) -> None:
        call.session.write(self.data)
        call.honestly()


@dataclass(frozen=True, slots=True)
class Oversized:
    """A line of so many bytes first; `ended` or without an end."""

    size: int = 1 << 22
    ended: bool = True

    def __call__(self, call: Call) -> None:
        call.session.write(b"x" * self.size + (b"\n" if self.ended else b""))
        call.honestly()


@dataclass(frozen=True, slots=True)
class NoticeFirst:
    """A notification between a request and its answer."""

    method: str
    params: tuple[Any, ...]

    def __call__(self, call: Call) -> None:
        call.session.notice(self.method, list(self.params))
        call.honestly()


@dataclass(frozen=True, slots=True)
class ExtranonceFirst:
    """mining.set_extranonce before what is said; jobs that were sent keep the extranonce they had."""

    extranonce2_size: int | None = None  # None: as large as it was

    def __call__(self, call: Call) -> None:
        session = call.session
        session.set_extranonce(session.pool.fresh_extranonce(), self.extranonce2_size or session.terms.extranonce2_size)
        call.honestly()


@dataclass(frozen=True, slots=True)
class JobFirst:
    """A new job overtakes what was on its way; a clean one makes the share in hand honestly stale."""

    clean: bool = False

    def __call__(self, call: Call) -> None:
        call.session.pool.new_job(clean=self.clean)
        call.honestly()


@dataclass(frozen=True, slots=True)
class BadJob:
    """A notification of work with its parameters spoilt; `spoil` may answer anything that JSON can say."""

    spoil: Callable[[list[Any]], Any]

    def __call__(self, call: Call) -> None:
        call.session.say(call.message | {"params": self.spoil(list(call.message["params"]))})


def _set(index: int, value: Any) -> Callable[[list[Any]], Any]:
    return lambda params: [*params[:index], value, *params[index + 1 :]]


BAD_JOBS: dict[str, Callable[[list[Any]], Any]] = {
    "no parameters": lambda params: [],
    "null": lambda params: None,
    "an object": lambda params: {"job": params[0]},
    "seven parameters": lambda params: params[:7],
    "short parent": _set(1, "00" * 31),
    "parent without hex": _set(1, "zz" * 32),
    "odd coinbase": lambda params: [*params[:2], params[2] + "0", *params[3:]],
    "coinbase without hex": _set(2, "coinbase"),
    "a coinbase without end": _set(3, "00" * 200_000),
    "short branch": _set(4, ["00" * 31]),
    "branches in a text": _set(4, "00" * 32),
    "a thousand branches": _set(4, ["00" * 32] * 1000),
    "version as a number": _set(5, 0x20000000),
    "long version": _set(5, "200000000"),
    "no target": _set(6, "00000000"),
    "negative target": _set(6, "1d80ffff"),
    "overflowing target": _set(6, "ff123456"),
    "ntime without hex": _set(7, "yesterday"),
    "an id that is a list": _set(0, [1]),
    "a long id": _set(0, "j" * 100_000),
    "a forged log line": _set(0, "1\n2026-01-01 error share_lost\x1b[2J"),
}
BAD_DIFFICULTIES: tuple[Any, ...] = (math.nan, math.inf, -math.inf, 0, -1, True, None, "x", [1], {}, 10**400)
GARBAGE: tuple[bytes, ...] = (
    b"\n",
    b"  \r\n",
    b"invalid json\n",
    b"[]\n",
    b"42\n",
    b"null\n",
    b'"text"\n',
    b"\xff\xfe\x00\n",
    b"{}\n",
    b'{"id": [], "method": {}, "params": 1}\n',
    b'{"id": null, "method": "mining.set_difficulty", "params": [1e400]}\n',
    b'{"id": 1e999, "result": true, "error": null}\n',
    b'{"id": ' + b"9" * 10_000 + b', "result": true, "error": null}\n',
    b"[" * 50_000 + b"]" * 50_000 + b"\n",
    b'{"id": null, "method": "mining.hashrate", "params": []}\n',
    json.dumps({"id": None, "method": "client.show_message", "params": ["a\x1b[2J\nb" * 500]}).encode() + b"\n",
)
HOSTILE_RECONNECTS: tuple[tuple[Any, ...], ...] = (
    ("evil.example", 3333, 0),
    ("127.0.0.1.evil.example", 3333, 0),
    ("", -1, 0),
    ("", 65_536, 0),
    ("", "3333; x", 0),
    (None, [], {}),
    ("a" * 10_000, 3333, 0),
    ("", 0, 10**9),
)

# ---- at random


@dataclass(frozen=True, slots=True)
class Mischief:
    """One thing that a pool may do at any moment; `ends`: a connection ends by it, and answers may be lost."""

    name: str
    act: Callable[[Pool, random.Random], object]
    ends: bool = False


def _fault(step: str, fault: Callable[[Call], None], name: str, *, ends: bool = False) -> Mischief:
    return Mischief(f"{name} {step}", lambda pool, _: pool.on(step, fault), ends)


def _renumber(pool: Pool) -> None:
    pool.set_extranonce()
    pool.new_job(clean=True)


MISCHIEF: tuple[Mischief, ...] = (
    Mischief("reset", lambda pool, _: pool.reset(), ends=True),
    Mischief("hang up", lambda pool, _: pool.hang_up(), ends=True),
    Mischief("clean job", lambda pool, _: pool.new_job(clean=True)),
    Mischief("job", lambda pool, _: pool.new_job()),
    Mischief("ten jobs", lambda pool, _: [pool.new_job() for _ in range(10)]),
    Mischief("same job", lambda pool, _: pool.repeat_job()),
    Mischief("garbage", lambda pool, rng: pool.write(rng.choice(GARBAGE))),
    Mischief("bad difficulty", lambda pool, rng: pool.notice("mining.set_difficulty", [rng.choice(BAD_DIFFICULTIES)])),
    Mischief("bad job", lambda pool, rng: pool.on("mining.notify", BadJob(rng.choice(list(BAD_JOBS.values()))))),
    Mischief("bad extranonce", lambda pool, _: pool.notice("mining.set_extranonce", ["zz", 0])),
    Mischief("bad mask", lambda pool, _: pool.notice("mining.set_version_mask", ["xyz"])),
    Mischief("reconnect", lambda pool, rng: pool.notice("client.reconnect", list(rng.choice(HOSTILE_RECONNECTS)))),
    Mischief("ping", lambda pool, _: pool.ask("mining.ping")),
    Mischief("version", lambda pool, _: pool.ask("client.get_version")),
    Mischief("extranonce", lambda pool, _: _renumber(pool)),
    _fault("mining.submit", Reset(), "reset before", ends=True),
    _fault("mining.submit", Reset(after=True), "reset after", ends=True),
    _fault("mining.submit", Cut(), "cut", ends=True),
    _fault("mining.submit", Late(0.5), "late"),
    _fault("mining.submit", Twice(), "twice"),
    _fault("mining.submit", Backwards(), "backwards"),
    _fault("mining.submit", Unanswered(), "unanswered"),
    _fault("mining.submit", JobFirst(clean=True), "clean job before"),
    _fault("mining.subscribe", Reset(), "reset at", ends=True),
    _fault("mining.authorize", Close(), "close at", ends=True),
    _fault("mining.configure", Refused(), "refused"),
    _fault("connect", Reset(), "reset at", ends=True),
)
