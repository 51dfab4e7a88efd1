"""What a virtual pool said, heard and was, with times: the pools' side of the evidence.

Times are seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.virtual.pool_judge import Books, Reason, SentJob, Verdict
from tests.virtual.pool_model import Pool
from tests.virtual.pool_session import Message, Session, Wire
from tests.virtual.pool_terms import Terms

Fields = tuple[str, str, str, str]  # job, extranonce2, ntime, nonce: as submitted


@dataclass(frozen=True, slots=True)
class Said:
    """A job on its way to a client, as the pool will judge its shares."""

    seat: str
    job: SentJob
    at: float
    number: int  # of the jobs of this seat


@dataclass(slots=True)
class Presence:
    """A client that may hand in shares, from its authorization to the end of its connection."""

    seat: str
    since: float
    mask: int  # version bits that it may roll; none: 0
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """One submission and what became of it."""

    at: float
    fields: Fields
    verdict: Verdict
    generation_age_s: float  # how long the jobs now good had been so
    presence_age_s: float
    told: bool  # whether the client had been told of the jobs now good
    repeated: bool  # the same share was accepted in an earlier connection


@dataclass(slots=True)
class Entries(Books):
    """Books that tell whoever keeps the journal."""

    entered: Callable[[Verdict], None] = lambda _: None

    def enter(self, verdict: Verdict) -> None:
        Books.enter(self, verdict)
        self.entered(verdict)


@dataclass(slots=True)
class WatchedPool(Pool):
    """A pool that keeps a journal."""

    name: str = ""
    jobs: dict[bytes, list[Said]] = field(default_factory=dict)  # by the previous block's hash, header order
    misnamed: dict[bytes, list[Said]] = field(default_factory=dict)  # jobs told under a name that the pool forgot
    begun: list[float] = field(default_factory=list)  # when each generation of jobs began, from 1 on
    presences: list[Presence] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    spoilt_ids: set[str] = field(default_factory=set)  # of jobs whose content was good
    floods: list[float] = field(default_factory=list)  # when a difficulty began that no client may keep up with
    hellos: int = 0  # of TLS that this plain pool was sent by others: no client's fault
    _present: dict[int, Presence] = field(default_factory=dict)  # by number of session
    _speaking: tuple[Session, Message] | None = None
    _accepted: dict[bytes, int] = field(default_factory=dict)  # header: session
    _said_to: Counter[str] = field(default_factory=Counter)
    _told: dict[int, int] = field(default_factory=dict)  # session: the last generation that it was told of intact

    def __post_init__(self) -> None:
        self.books = Entries(entered=self._entered)
        Pool.__post_init__(self)

    @classmethod
    def under(cls, terms: Terms, name: str) -> WatchedPool:
        return cls(terms, time.time, name=name)

    @property
    def ambiguous(self) -> bool:
        """Whether this pool's versions are read differently by different clients."""
        return self.terms.rolling is not None and bool(self.terms.version & self.terms.mask)

    def give(self, template: object) -> object:  # type: ignore[override]
        if template.clean:  # type: ignore[attr-defined]
            self.begun.append(time.monotonic())
        return Pool.give(self, template)  # type: ignore[arg-type]

    def connect(self, wire: Wire) -> Session:
        return Pool.connect(self, wire)

    def lost(self, session: Session) -> None:
        Pool.lost(self, session)
        presence = self._present.pop(session.number, None)
        if presence is not None and presence.until is None:
            presence.until = time.monotonic()

    def heard(self, session: Session, message: Message) -> None:
        self._speaking = session, message
        Pool.heard(self, session, message)

    def said(self, session: Session, message: Message) -> None:
        Pool.said(self, session, message)
        if session.muted or session.seat is None:
            return
        if session.working and session.users and session.number not in self._present:
            mask = session.mask if session.rolling is not None else 0
            presence = Presence(session.seat.id, time.monotonic(), mask)
            self._present[session.number] = presence
            self.presences.append(presence)
        if message.get("method") == "mining.notify":
            self._job_said(session, session.seat.id, message["params"])

    def _job_said(self, session: Session, seat: str, params: object) -> None:
        assert session.seat is not None
        job = next(reversed(session.seat.jobs.values()))  # the one that this is, or was
        sound = self.terms.notify(list(job.params))
        if params != sound:
            if isinstance(params, list) and params[1:] == list(sound)[1:]:
                self.spoilt_ids.add(str(params[0]))
                self._told_under(seat, job, self.misnamed)
            return
        self._said_to[seat] += 1
        self._told_under(seat, job, self.jobs)
        self._told[session.number] = job.generation

    def _told_under(self, seat: str, job: SentJob, jobs: dict[bytes, list[Said]]) -> None:
        swapped = bytes.fromhex(job.params[1])
        parent = b"".join(swapped[start : start + 4][::-1] for start in range(0, 32, 4))
        jobs.setdefault(parent, []).append(Said(seat, job, time.monotonic(), self._said_to[seat]))

    def _entered(self, verdict: Verdict) -> None:
        assert self._speaking is not None
        session, message = self._speaking
        now = time.monotonic()
        presence = self._present.get(session.number)
        _, job, extranonce2, ntime, nonce = map(str, (*message["params"], *[""] * 5)[:5])
        before = self._accepted.get(verdict.header)
        if verdict.accepted:
            self._accepted[verdict.header] = session.number
        self.judged.append(
            Judged(
                at=now,
                fields=(job, extranonce2, ntime, nonce),
                verdict=verdict,
                generation_age_s=now - self.begun[-1],
                presence_age_s=now - presence.since if presence else 0.0,
                told=self._told.get(session.number) == self.generation,
                repeated=before is not None and before != session.number,
            )
        )


def unexplained(pool: WatchedPool, judged: Judged, learning: Counter[str], *, patience_s: float) -> bool:
    """Whether a good client would not have sent this; `learning` counts what it may get wrong eight times."""
    match judged.verdict.reason:
        case None:
            return False
        case Reason.STALE:
            news = min(judged.generation_age_s, judged.presence_age_s)
            return judged.told and news > patience_s
        case Reason.UNKNOWN_JOB:
            return judged.fields[0] not in pool.spoilt_ids
        case Reason.DUPLICATE:
            return not judged.repeated
        case Reason.LOW_DIFFICULTY if pool.ambiguous:
            learning[pool.name] += 1
            return learning[pool.name] > 8
        case _:
            return True
