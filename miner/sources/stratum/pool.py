"""One pool, over all of its connections: what it announced, what it was sent, what it taught us. Decides, without I/O.

    connected --> StratumClient ... Ready --> SourceUp, the jobs that were announced meanwhile
        ^                                        |  notify: NewJob      share: proved, then sent or held
        |                                        v
        +------------ disconnected: SourceDown; shares under way wait for a session that is resumed

What becomes of shares is `delivery`'s business.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from miner.sources.stratum import messages, protocol
from miner.sources.stratum.delivery import Channel, Delivery
from miner.sources.stratum.doubts import Doubts
from miner.sources.stratum.effects import Effect, Ending, Leave, Say
from miner.sources.stratum.errors import BadJob
from miner.sources.stratum.job import Circumstances, JobMaker, Made
from miner.sources.stratum.messages import Notify
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.protocol import Asked, Ended, Manner, StratumClient
from miner.sources.stratum.questions import WITHOUT, Loss, Question, Questions
from miner.sources.stratum.redirect import Redirect, Redirector
from miner.sources.stratum.rolling import VersionBits
from miner.work.events import NewJob, SourceDown, SourceUp
from miner.work.job import Job
from miner.work.share import Share

MASK_ASKS = 3  # in one connection
MASK_ANSWER_S = 10.0
BAD_JOBS = 8  # in a row
EARLY_JOBS = 16  # the newest that came before the connection was ready
NO_WORK_S = 600.0  # connected without a job of late
ANSWERING_S = 1.0  # a pool that has answered nothing for so long, with shares under way, may be frozen
_LOSSES = {  # the others have nothing to do with what the pool was asked
    Ending.CLOSED: Loss.CLOSED,
    Ending.NOT_SUBSCRIBED: Loss.CLOSED,
    Ending.SILENT: Loss.DEAF,
    Ending.UNANSWERED: Loss.DEAF,
}


@dataclass(frozen=True, slots=True)
class _Early:
    """A job that came before the connection was ready, with what it is made of: the words in force when it came.

    The version mask is not among them. A new mask holds at once, for jobs of before, too (BIP 310).
    """

    notify: Notify
    difficulty: float
    extranonce: tuple[bytes, int] | None  # None: it came before the answer to subscribe, which brings the extranonce


@dataclass(slots=True)
class _Connection:
    """What ends with a connection."""

    client: StratumClient
    channel: Channel
    doubts: Doubts
    port: int
    began: float
    maker: JobMaker | None = None  # from subscribing on
    extranonce: tuple[bytes, int] | None = None  # extranonce1 and the size of extranonce2, for the jobs that follow
    early: deque[_Early] = field(default_factory=lambda: deque(maxlen=EARLY_JOBS))
    resumed: bool = False
    ready_at: float | None = None
    job: Job | None = None
    job_at: float = 0.0
    bad_jobs: int = 0
    mask_asks: int = 0
    mask_asked_at: float | None = None  # under way since
    mask_ignored: bool = False
    mask_asked_as: Question = Question.MASK
    to_ask: deque[Question] = field(default_factory=deque)  # once nothing else is under way
    left: bool = False  # a Leave went out: the connection is about to be closed, and nothing more is sent on it


class Pool:
    """The state machine of one pool. Times are seconds: `now` monotonic, `wall` since 1970."""

    def __init__(self, options: StratumOptions) -> None:
        self._options = options
        self._name = options.name
        self._redirector = Redirector(options.host, options.port, enabled=options.follow_redirects)
        self._delivery = Delivery(options)
        self._connection: _Connection | None = None
        self._session = 0  # rises with each that is no resumption
        self._resume: str | None = None
        self._extranonce: tuple[bytes, int] | None = None  # of the last session
        self._tip = b""  # what the newest job builds on
        self._questions = Questions()
        self._said: set[tuple[Question, bool]] = set()  # left out, and whether for good: each is said once

    # ---- what can be read

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be sent or answered."""
        return self._delivery.quiet

    @property
    def version_bits(self) -> VersionBits:
        """How this pool reads version bits, as far as is known."""
        return self._delivery.bits

    def data_to_send(self) -> bytes:
        """What must go out on the present connection."""
        return self._connection.client.data_to_send() if self._connection else b""

    def stable_s(self, now: float) -> float:
        """For how long shares could be sent by now."""
        connection = self._connection
        return now - connection.ready_at if connection and connection.ready_at is not None else 0.0

    # ---- connections

    def connected(self, port: int, now: float) -> None:
        """A connection stands, to this port; begin the conversation."""
        options, questions = self._options, self._questions
        asks = questions.asks
        client = StratumClient(
            Manner(
                user=options.worker().user,
                password=options.worker().password,
                agent=options.agent,
                resume=self._resume,
                mask=options.version_mask if asks(Question.VERSION_ROLLING) else 0,
                minimum_difficulty=options.minimum_difficulty if asks(Question.MINIMUM) else None,
                extranonce_extension=options.subscribe_extranonce and asks(Question.EXTENSION),
                configure_s=options.configure_s,
                answer_s=options.answer_s,
                silence_s=options.silence_s,
            )
        )
        self._connection = _Connection(client, Channel(client, questions), Doubts(options), port, now)
        client.start(now)
        self._delivery.patience.begin()
        self._note_asked(client, now)

    def _note_asked(self, client: StratumClient, now: float) -> None:
        for questions in client.optional_questions():
            self._questions.asked(now, *questions)

    def disconnected(self, ending: Ending, text: str, now: float) -> tuple[list[Effect], bool]:
        """The connection is gone; what to do, and whether to come again at once, having learnt something."""
        connection, self._connection = self._connection, None
        if connection is None:
            return [], False
        self._delivery.bits.forget_under_way()
        left_out = self._learn(connection, ending, now)
        effects = self._say_left_out(left_out)
        reason = f"{ending}: {text}" if text else str(ending)
        effects.append(SourceDown(self._name, reason, unanswered=ending is Ending.UNANSWERED))
        if self._resume is None:
            effects += self._delivery.give_up("the connection ended")
        return effects, bool(left_out)

    def _learn(self, connection: _Connection, ending: Ending, now: float) -> frozenset[Question]:
        """Which questions are left out from now on, because the pool hung up on them."""
        client = connection.client
        self._note_asked(client, now)
        loss = _LOSSES.get(ending, Loss.OTHER)
        if ending is Ending.NOT_SUBSCRIBED and connection.channel.joined:
            loss = Loss.OTHER  # said of a share
        ready = connection.ready_at is not None
        # A pool whose receiving half has died goes on sending jobs: only its answers show up to when it listened.
        heard_at = client.answered_at if ending is Ending.UNANSWERED else client.heard_at
        left_out = self._questions.lost(loss, now, heard_at=heard_at, ready=ready)
        if not self._questions.asks(Question.RESUME):
            self._resume = None
        return left_out

    def _say_left_out(self, questions: frozenset[Question]) -> list[Effect]:
        """One line of log for all that is left out at one time. A question is said once, and once more if for good."""
        effects: list[Effect] = []
        for for_good, until in ((False, "until a connection stands without"), (True, "until the miner ends")):
            new = {(question, for_good) for question in questions if self._questions.refused(question) is for_good}
            names = [question for question in Question if (question, for_good) in new - self._said]
            self._said |= new
            if names:
                text = f"the pool ended the connection on this, so it is left out {until}"
                without = "; ".join(WITHOUT[question] for question in names)
                fields = {"questions": ", ".join(names), "text": f"{text}: {without}"}
                effects.append(Say("warning", "question_left_out", fields))
        return effects

    # ---- what the pool says

    def receive(self, data: bytes, now: float, wall: float) -> list[Effect]:
        """Take bytes of the present connection and return what to do. Never raises for what the bytes are."""
        connection = self._connection
        if connection is None or connection.left:
            return []
        self._note_asked(connection.client, now)
        effects: list[Effect] = []
        for event in connection.client.receive(data, now):
            new = self._event(connection, event, now, wall)
            effects += new
            if _leaves(connection, new):
                return effects
        effects += self._question(connection, now, spoke=True)
        return [*effects, *self._delivery.send_held(self._channel, now)]

    def tick(self, now: float, wall: float) -> list[Effect]:
        """Note that time passed, a few times a second, and return what to do."""
        effects = self._delivery.expire(now)
        connection = self._connection
        if connection is not None and not connection.left:
            for event in connection.client.tick(now):
                effects += self._event(connection, event, now, wall)
            effects += connection.channel.tick(now)
            effects += self._watch(connection, now)
            effects += self._delivery.silence(connection.channel, now)
            if _leaves(connection, effects):
                return effects
            effects += self._question(connection, now, spoke=False)
        return [*effects, *self._delivery.send_held(self._channel, now)]

    def _question(self, connection: _Connection, now: float, *, spoke: bool) -> list[Effect]:
        """Ask the next optional question, one at a time, so that a pool that hangs up shows which one it was.

        `spoke`: the pool has just said something. Only then is a question asked again that was left out before: a pool
        that is silent already would seem to have gone deaf on it.
        """
        questions, to_ask = self._questions, connection.to_ask
        self._note_asked(connection.client, now)
        if not to_ask and questions.settled:
            return []  # as nearly always: new work waits for this
        effects: list[Effect] = [
            Say("info", "question_asked_again", {"question": str(question), "text": "the pool took it this time"})
            for question in sorted(questions.tick(now, connection.client.heard_at))
        ]
        if connection.ready_at is None:
            return effects
        while to_ask and not questions.busy(now):
            self._ask(connection, to_ask.popleft(), now)
        if not to_ask and spoke and self._delivery.patience.silent_s < ANSWERING_S:
            again = questions.give_back(now, now - connection.ready_at)
            if again is not None:
                self._ask(connection, again, now)
        return effects

    def _ask(self, connection: _Connection, question: Question, now: float) -> None:
        options, client = self._options, connection.client
        if not self._questions.asks(question):
            return
        match question:
            case Question.VERSION_ROLLING:
                self._ask_mask(connection, options.version_mask, question, now)
            case Question.EXTRANONCE if options.subscribe_extranonce and not client.extranonce_granted:
                client.subscribe_extranonce()
            case Question.SUGGEST if options.suggest_difficulty is not None:
                client.suggest_difficulty(options.suggest_difficulty)
        self._note_asked(client, now)

    def _event(self, connection: _Connection, event: protocol.Event, now: float, wall: float) -> list[Effect]:
        match event:
            case Notify():
                return self._on_notify(connection, event, now, wall)
            case messages.SetDifficulty(difficulty):
                connection.channel.difficulty = difficulty
            case messages.SetExtranonce(extranonce1, size):
                connection.extranonce = self._extranonce = extranonce1, size
            case messages.SetVersionMask(mask):
                if self._questions.asks(Question.VERSION_ROLLING) and self._options.version_mask:
                    connection.mask_ignored = False
                    return self._grant(connection, mask & self._options.version_mask, now)
            case messages.ReconnectAsked(params):
                return self._on_redirect(connection, list(params), now)
            case messages.ShowMessage(text):
                return self._remark("pool_says", text, now)
            case messages.Complaint(code, text):
                said = text if code is None else f"error {code}: {text}"
                return self._remark("pool_complains", said, now)
            case messages.Unknown(method, _):
                return self._remark("method_unknown", method, now)
            case protocol.Ignored(text):
                return self._remark("line_ignored", text, now)
            case protocol.MaskGranted(mask, again, refused):
                if again:
                    self._questions.answered(connection.mask_asked_as, taken=not refused)
                elif mask is not None:
                    for question in (Question.VERSION_ROLLING, Question.MINIMUM, Question.EXTENSION):
                        self._questions.answered(question, taken=not refused)
                return self._on_mask(connection, mask, again=again, now=now)
            case protocol.Joined(result):
                return self._on_joined(connection, result)
            case protocol.Ready():
                return self._on_ready(connection, now, wall)
            case protocol.OptionAnswered(asked, refused):
                question = Question.SUGGEST if asked is Asked.SUGGEST else Question.EXTRANONCE
                self._questions.answered(question, taken=not refused)
            case protocol.WorkerAnswered(device, accepted, text):
                self._questions.answered(Question.WORKERS, taken=accepted)
                return connection.channel.judge_worker(device, text, accepted=accepted)
            case protocol.Submitted(request, answer):
                return self._delivery.answered(connection.channel, request, answer, now)
            case Ended(ending, text):
                return [Leave(ending, text)]
        return []

    def _on_joined(self, connection: _Connection, result: messages.Subscribed) -> list[Effect]:
        """Resumed if we asked for it and extranonce1 is the same; else nothing of before can be handed in."""
        extranonce = result.extranonce1, result.extranonce2_size
        resumed = self._resume is not None and extranonce == self._extranonce
        if not resumed:
            self._session += 1
        connection.maker = JobMaker(self._name, self._session)
        self._questions.answered(Question.RESUME, taken=True)
        effects = self._delivery.joined(self._session, resumed=resumed)
        connection.channel.joined, connection.resumed = True, resumed
        self._resume, self._extranonce = result.session_id, extranonce
        connection.extranonce = extranonce
        for _ in range(len(connection.early)):
            early = connection.early.popleft()
            connection.early.append(replace(early, extranonce=early.extranonce or extranonce))
        return effects

    def _on_ready(self, connection: _Connection, now: float, wall: float) -> list[Effect]:
        connection.ready_at = connection.job_at = now
        # Where the pool hung up on version rolling before, that may have been by chance, and without it devices lose
        # most: it is asked for first. Shares wait for the answer, which says whether they have five fields or six.
        again = self._questions.give_back(now, 0.0)
        connection.to_ask.extend([again] if again is not None else [])
        connection.to_ask.extend((Question.EXTRANONCE, Question.SUGGEST))
        effects: list[Effect] = [SourceUp(self._name)]
        for early in connection.early:
            effects += self._announce(connection, early, now, wall)
        connection.early.clear()
        return effects

    def _on_redirect(self, connection: _Connection, params: list[Any], now: float) -> list[Effect]:
        decision = self._redirector.judge(params, connection.port, now)
        if isinstance(decision, Redirect):
            return [Leave(Ending.MOVED, f"to {decision.host}:{decision.port}", decision)]
        return self._remark("redirect_refused", decision.text, now)

    def _remark(self, event: str, text: str, now: float) -> list[Effect]:
        """Log a warning that a pool can cause as often as it likes."""
        return self._delivery.remark(event, {"text": text}, now)

    # ---- jobs

    def _on_notify(self, connection: _Connection, notify: Notify, now: float, wall: float) -> list[Effect]:
        job = _Early(notify, connection.channel.difficulty, connection.extranonce)
        if connection.ready_at is None:
            connection.early.append(job)
            return []
        return self._announce(connection, job, now, wall)

    def _announce(self, connection: _Connection, job: _Early, now: float, wall: float) -> list[Effect]:
        assert job.extranonce is not None and connection.maker is not None
        under = Circumstances(*job.extranonce, job.difficulty, mask=connection.channel.granted or 0)
        try:
            made = connection.maker.make(job.notify, under, now, easing=self._delivery.allowance.easing)
            if made is not None:
                connection.doubts.audit(made)
        except BadJob as error:
            connection.bad_jobs += 1
            if connection.bad_jobs >= BAD_JOBS:
                return [Leave(Ending.NO_WORK, f"{connection.bad_jobs} bad jobs in a row, the last: {error}")]
            return self._remark("job_refused", str(error), now)
        connection.bad_jobs = 0
        if made is None:
            connection.job_at = now  # it repeats itself, and so it lives
            return []
        return [*self._take(connection, made, now), *connection.doubts.about(made, wall)]

    def _take(self, connection: _Connection, made: Made, now: float) -> list[Effect]:
        # After a resumption the pool still takes shares of before, on the same tip: its first job is news, no more.
        resumed = connection.job is None and connection.resumed and made.job.prev_hash == self._tip
        replaces = made.replace and not resumed
        if replaces:
            self._delivery.replaced(made.job.id)
        self._tip = made.job.prev_hash
        connection.job, connection.job_at = made.job, now
        self._ask_for_less(connection, now)
        return [NewJob(made.job, replaces)]

    def _again(self, connection: _Connection, now: float) -> list[Effect]:
        assert connection.maker is not None
        made = connection.maker.again(connection.channel.granted or 0, now, easing=self._delivery.allowance.easing)
        return self._take(connection, made, now) if made is not None else []

    def _watch(self, connection: _Connection, now: float) -> list[Effect]:
        effects: list[Effect] = []
        asked_at = connection.mask_asked_at
        if asked_at is not None and now - asked_at >= MASK_ANSWER_S:
            connection.mask_asked_at, connection.mask_ignored = None, True
            connection.channel.settling = False
        if connection.job is not None and self._delivery.allowance.adjust(now, self._delivery.waiting):
            effects.append(Say("info", "local_target_changed", {"times_harder": self._delivery.allowance.easing}))
            job_at = connection.job_at
            effects += self._again(connection, now)
            connection.job_at = job_at
        if connection.ready_at is not None and now - connection.job_at >= NO_WORK_S:
            effects.append(Leave(Ending.NO_WORK, f"no job for {now - connection.job_at:.0f} s"))
        return effects

    # ---- version bits

    def _on_mask(self, connection: _Connection, mask: int | None, *, again: bool, now: float) -> list[Effect]:
        if again:
            connection.mask_asked_at = None
            connection.channel.settling = False
        if mask is None:
            connection.mask_ignored = again
            return []
        mask &= self._options.version_mask
        job = connection.job
        connection.mask_ignored = again and job is not None and bool(mask & job.version)
        return self._grant(connection, mask, now)

    def _grant(self, connection: _Connection, mask: int, now: float) -> list[Effect]:
        if not mask and connection.channel.granted is None:
            return []  # no version rolling, as before: shares keep their five fields
        connection.channel.granted = mask
        job = connection.job
        if job is None or job.version_mask == mask & ~job.version:
            return []
        return self._again(connection, now)

    def _ask_for_less(self, connection: _Connection, now: float) -> None:
        """Where the job's version has bits under the mask, only a mask without them is read alike by all pools."""
        job, granted = connection.job, connection.channel.granted
        if job is None or granted is None or not granted & job.version or self._options.version_bits is not None:
            return
        if connection.mask_ignored or connection.mask_asked_at is not None or connection.mask_asks >= MASK_ASKS:
            return
        if self._questions.asks(Question.MASK):
            self._ask_mask(connection, granted & ~job.version, Question.MASK, now)

    def _ask_mask(self, connection: _Connection, mask: int, question: Question, now: float) -> None:
        connection.mask_asks += 1
        connection.mask_asked_at, connection.mask_asked_as = now, question
        connection.channel.settling = True
        connection.client.ask_mask(mask, question)

    # ---- shares

    def submit(self, share: Share, now: float) -> list[Effect]:
        """Take a share; it is answered by exactly one Answered, now or later."""
        return self._delivery.submit(share, self._channel, now)

    @property
    def _channel(self) -> Channel | None:
        """Where shares may be sent; None while the pool is away or about to be left."""
        connection = self._connection
        return connection.channel if connection and not connection.left else None


def _leaves(connection: _Connection, effects: list[Effect]) -> bool:
    """Return whether one of these effects ends the connection, and note that it does."""
    connection.left = Leave in map(type, effects)
    return connection.left
