"""What becomes of a share between its finder and the pool's answer. Decides, without I/O.

    submit --> HELD --> proved, sent --> UNDER WAY --> Answered
                 ^                           |
                 +---------------------------+  the connection was lost, and the session resumed

Held while the connection is away, while version bits are being settled, and while the pool gets more than it should
(`allowance`); blocks and a job's first share are not held for the last. What became stale meanwhile, belongs to a
session that was not resumed, or cannot be proved, is answered here and never sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from miner.chain.target import Target
from miner.sources.net.allowance import Allowance
from miner.sources.stratum.brake import Brake
from miner.sources.stratum.effects import Effect, Ending, Learnt, Leave, Say
from miner.sources.stratum.errors import ShareUnsound
from miner.sources.stratum.job import Announced
from miner.sources.stratum.messages import MAX_TEXT
from miner.sources.stratum.messages import Answer as PoolAnswer
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.patience import Patience
from miner.sources.stratum.protocol import StratumClient
from miner.sources.stratum.questions import Question, Questions
from miner.sources.stratum.refusal import reason_of
from miner.sources.stratum.rolling import Style, VersionBits
from miner.sources.stratum.shares import ANSWER_S, InFlight, Submission, VersionNotCovered, compose, prove
from miner.work.events import Answered
from miner.work.share import Answer, Reason, Share

HELD_SHARES = 4096
WORKER_S = 10.0  # how long shares wait for a device's own worker to be taken
FIRST_DIFFICULTY = 1.0  # until the pool sets one


@dataclass(slots=True)
class Channel:
    """The present connection, as far as shares are concerned."""

    client: StratumClient
    questions: Questions = field(default_factory=Questions)
    joined: bool = False  # subscribed: whether the session was resumed is known
    granted: int | None = None  # version mask; None: no version rolling
    settling: bool = False  # another mask has been asked for
    difficulty: float = FIRST_DIFFICULTY
    authorized_again: bool = False
    workers: dict[str, bool] = field(default_factory=dict)  # device -> whether its own worker may hand in
    asked: dict[str, float] = field(default_factory=dict)  # device -> since when that is being found out

    def judge_worker(self, device: str, text: str, *, accepted: bool) -> list[Effect]:
        """Note whether the pool takes this device's own worker. A refusal that is repeated is said once."""
        known = self.workers.get(device)
        self.workers[device] = accepted
        self.asked.pop(device, None)
        if accepted or known is False:
            return []
        return [Say("warning", "worker_refused", {"device": device, "text": text})]

    def tick(self, now: float) -> list[Effect]:
        """Silence means no, until an answer comes after all."""
        late = [device for device, since in self.asked.items() if now - since >= WORKER_S]
        return [effect for device in late for effect in self.judge_worker(device, "no answer", accepted=False)]


class Delivery:
    """The shares of one pool, over all of its connections."""

    def __init__(self, options: StratumOptions) -> None:
        self._options = options
        self._name = options.name
        self.bits = VersionBits(options.version_bits, options.learnt_bits or Style.DIFFERENCE)
        self.allowance = Allowance(options.share_rate, options.share_burst)
        self.patience = Patience()
        self._brake = Brake()
        self._in_flight = InFlight()
        self._held: deque[tuple[Share, float]] = deque()  # with when it came
        self._session = 0  # whose jobs the pool knows
        self._alive_from = 0  # jobs with smaller ids are dead
        self._begun: OrderedDict[int, None] = OrderedDict()  # jobs that had a share sent
        self._resent: OrderedDict[int, None] = OrderedDict()  # shares that may have arrived before
        self._tried_both: OrderedDict[int, None] = OrderedDict()  # blocks, by share id

    @property
    def quiet(self) -> bool:
        """Whether nothing waits to be sent or answered."""
        return not self._held and not len(self._in_flight)

    @property
    def waiting(self) -> int:
        """How many shares are held."""
        return len(self._held)

    def silence(self, channel: Channel, now: float) -> list[Effect]:
        """Look whether the pool leaves everything unanswered for too long: then the connection ends."""
        under_way = len(self._in_flight) if channel.client.ready else 0
        if not self.patience.ends(now, answers=channel.client.answers, under_way=under_way):
            return []
        difficulty = sum(map(_difficulty, (sent.submission.share for sent in self._in_flight)))
        text = f"it answered nothing for {self.patience.silent_s:.0f} s; at most {under_way} shares of {difficulty:.6g}"
        return [Leave(Ending.UNANSWERED, f"{text} difficulty in all are lost")]

    # ---- what surrounds shares

    def joined(self, session: int, *, resumed: bool) -> list[Effect]:
        """Subscribed: shares of before wait for their turn again, or are lost."""
        self._session = session
        if not resumed:
            return self.give_up("the session was not resumed")
        returned = [submission.share for submission in self._in_flight.clear()]
        for share in returned:
            _remember(self._resent, share.id)
        self._held.extendleft((share, share.found_at) for share in reversed(returned))
        return []

    def replaced(self, job_id: int) -> None:
        """Jobs with smaller ids are dead."""
        self._alive_from = job_id

    def give_up(self, text: str) -> list[Effect]:
        """Nothing that waits will ever be answered."""
        lost = [submission.share for submission in self._in_flight.clear()] + [share for share, _ in self._held]
        self._held.clear()
        if not lost:
            return []
        fields = {"shares": len(lost), "difficulty": sum(map(_difficulty, lost)), "text": text}
        return [Say("warning", "shares_lost", fields), *(self._answer(x, Reason.UNANSWERED, text) for x in lost)]

    def expire(self, now: float) -> list[Effect]:
        """Give up what has waited too long; a block waits as long as there is hope."""
        late = [submission.share for submission in self._in_flight.overdue(now)]
        if any(self._is_late(share, since, now) for share, since in self._held):
            late += [share for share, since in self._held if self._is_late(share, since, now)]
            self._held = deque(item for item in self._held if not self._is_late(*item, now))
        return [self._answer(share, Reason.UNANSWERED, f"no answer for {ANSWER_S:.0f} s") for share in late]

    # ---- out

    def submit(self, share: Share, channel: Channel | None, now: float) -> list[Effect]:
        """Take a share; it is answered by exactly one Answered, now or later. `channel`: None while away."""
        if len(self._held) >= HELD_SHARES and not share.block:
            return [self._answer(share, Reason.UNANSWERED, "too many shares wait")]
        self._held.append((share, now))
        return self.send_held(channel, now)

    def send_held(self, channel: Channel | None, now: float) -> list[Effect]:
        """Send what may be sent, in order; blocks and first shares pass by the rest."""
        if not self._held:
            return []
        effects: list[Effect] = []
        kept: deque[tuple[Share, float]] = deque()
        for share, since in self._held:
            outcome = None if kept and not self._passes(share) else self._try(share, channel, now)
            if outcome is None:
                kept.append((share, since))
            else:
                effects += outcome
        self._held = kept
        return effects

    def _passes(self, share: Share) -> bool:
        return share.block or share.job.id not in self._begun or self._is_dead(share)

    def _is_dead(self, share: Share) -> bool:
        return share.job.id < self._alive_from and not share.block

    def _is_late(self, share: Share, since: float, now: float) -> bool:
        return now - since >= ANSWER_S and not share.block

    def _try(self, share: Share, channel: Channel | None, now: float) -> list[Effect] | None:
        """Send one share, or answer it; None to hold it."""
        if self._is_dead(share) and share.id in self._resent:
            return [self._answer(share, Reason.UNANSWERED, "no answer came before its job was replaced")]
        if self._is_dead(share):
            return [self._answer(share, Reason.STALE, "its job was replaced before it was sent")]
        if self._is_late(share, share.found_at, now) and share.id in self._resent:
            return [self._answer(share, Reason.UNANSWERED, f"no answer for {ANSWER_S:.0f} s")]
        if channel is None or not channel.joined:
            return None
        if share.job.session != self._session:
            return [self._answer(share, Reason.UNANSWERED, "its session is over")]
        if not channel.client.ready:
            return None
        user = self._user(share, channel, now)
        if user is None:
            return None
        try:
            submission = compose(share, user, channel.granted, self.bits.style)
            unsettled = channel.settling and (submission.ambiguous or channel.granted is None)
            if not share.block and (unsettled or (submission.ambiguous and not self.bits.may_send)):
                return None
            prove(submission, channel.granted)
        except VersionNotCovered as error:
            return [self._answer(share, Reason.BAD_VERSION, str(error))]
        except ShareUnsound as error:
            unsound = Say("error", "share_unsound", {"share": share.id, "text": str(error)})
            return [unsound, self._answer(share, Reason.MALFORMED, str(error)[:MAX_TEXT])]
        if not self.allowance.take(now, forced=share.block or share.job.id not in self._begun):
            return None
        _remember(self._begun, share.job.id)
        if submission.ambiguous:
            self.bits.sent()
        self._in_flight.add(channel.client.submit(submission.params), submission, now)
        return []

    def _user(self, share: Share, channel: Channel, now: float) -> str | None:
        """Under which user to hand in; None: wait. Where a device's own worker is not taken, the connection's is."""
        ours = self._options.worker()
        own = self._options.worker(share.device)
        if own.user == ours.user or channel.workers.get(share.device) is False:
            return ours.user
        if channel.workers.get(share.device):
            return own.user
        if share.device not in channel.asked:
            if not channel.questions.asks(Question.WORKERS):
                return ours.user
            channel.asked[share.device] = now
            channel.client.authorize_worker(share.device, own.user, own.password)
        return ours.user if share.block else None

    # ---- back

    def answered(self, channel: Channel, request: str, answer: PoolAnswer, now: float) -> list[Effect]:
        """The pool's answer to the submit of this request."""
        sent = self._in_flight.take(request)
        if sent is None:
            return []
        self.patience.answered(now - sent.at)
        submission, share = sent.submission, sent.submission.share
        accepted = answer.result is True and not answer.refused
        reason = None if accepted else reason_of(answer.code, answer.text)
        if reason is Reason.DUPLICATE and share.id in self._resent:
            reason = None  # it was taken the first time, and only the answer was lost
        effects: list[Effect] = []
        if submission.ambiguous:
            effects += self._learn(channel, submission, reason, now)
            if self._send_otherwise(channel, submission, reason, sent.at):
                return effects
        effects.append(self._answer(share, reason, answer.text, sent.at))
        return [*effects, *self._act_on(channel, submission, reason, answer.text, now)]

    def remark(self, event: str, fields: dict[str, Any], now: float) -> list[Effect]:
        """Log a warning that a pool can cause as often as it likes; the brake decides whether it passes."""
        passes = self._brake.passes(event, now)
        return [] if passes is None else [Say("warning", event, fields | passes)]

    def _act_on(
        self, channel: Channel, submission: Submission, reason: Reason | None, text: str, now: float
    ) -> list[Effect]:
        share = submission.share
        match reason:
            case Reason.LOW_DIFFICULTY if share.hash > share.job.share_target:
                return self.remark("bare_block_refused", {"job": share.job.key, "text": text}, now)
            case Reason.LOW_DIFFICULTY | Reason.DUPLICATE:
                fields = {"reason": reason, "hash": f"{share.hash:064x}", "target": f"{share.job.share_target:064x}"}
                return self.remark("share_refused_though_proved", fields, now)
            case Reason.UNAUTHORIZED if submission.params[0] != self._options.worker().user:
                return channel.judge_worker(share.device, text, accepted=False)
            case Reason.UNAUTHORIZED if not channel.authorized_again:
                channel.authorized_again = True
                channel.client.authorize_again()
            case Reason.UNAUTHORIZED:
                return [Leave(Ending.NOT_AUTHORIZED, text)]
            case Reason.NOT_SUBSCRIBED:
                return [Leave(Ending.NOT_SUBSCRIBED, text)]
        return []

    def _learn(self, channel: Channel, submission: Submission, reason: Reason | None, now: float) -> list[Effect]:
        """Learn from an answer how the pool reads version bits.

        A refusal as of low difficulty counts only where the share is hard enough. A change-over that the brake holds
        back is not remembered over restarts either: a pool must not make the miner write a file as often as it likes.
        """
        hard_enough = submission.share.hash <= Target.from_difficulty(channel.difficulty).value
        low = reason is Reason.LOW_DIFFICULTY and hard_enough
        if not self.bits.answered(submission.style, accepted=reason is None, low=low):
            return []
        said = self.remark("version_bits_changed_over", {"style": self.bits.style}, now)
        return [*said, Learnt(self.bits.style)] if said else []

    def _send_otherwise(self, channel: Channel, submission: Submission, reason: Reason | None, at: float) -> bool:
        """A block that was refused for its version bits is sent once more in the other style: it may be the one."""
        share = submission.share
        if not share.block or reason is not Reason.LOW_DIFFICULTY or self.bits.fixed is not None:
            return False
        other = next(style for style in Style if style is not submission.style)
        again = compose(share, str(submission.params[0]), channel.granted, other)
        if again.params == submission.params or share.id in self._tried_both:
            return False
        _remember(self._tried_both, share.id)
        self._in_flight.add(channel.client.submit(again.params), again, at)
        return True

    def _answer(self, share: Share, reason: Reason | None, text: str, sent_at: float | None = None) -> Answered:
        answer = Answer(
            share.id,
            accepted=reason is None,
            block=share.block,
            reason=reason,
            text=text,
            sent_at=sent_at,
            difficulty=_difficulty(share) if isinstance(share.job.payload, Announced) else None,
        )
        return Answered(self._name, answer)


def _difficulty(share: Share) -> float:
    """What the pool counts this share for; 0 where its job is not one of a pool."""
    announced = share.job.payload
    if not isinstance(announced, Announced):
        return 0.0
    # Not of the target that was searched for: that one may have been raised by us. Nor more than a block is worth,
    # where a pool asks for more: each block counts there, and a sum of what it claims may be infinite.
    return min(announced.under.difficulty, Target(share.job.network_target).difficulty)


def _remember(table: OrderedDict[int, None], key: int) -> None:
    table[key] = None
    if len(table) > HELD_SHARES:
        table.popitem(last=False)
