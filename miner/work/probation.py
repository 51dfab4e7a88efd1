"""Whether one source credits what it is handed, decided without a clock.

                 it answered no share (`silent`), or refused
                 REFUSED of them in a row for REFUSED_S seconds
      TRUSTED ----------------------------------------------> RESTING <------------------+
         ^                                                       | the rest is over       |
         |                                                       v                        | a refusal, or no answer
         +----------------- an accepted share ---------------- TRIAL --- a share left ----+ within PROOF_S: rest twice
                              (from any state)                                              as long

A source that rests gives way to every source that does not. On trial it is given the devices again, until the first
share is on its way to it: a trial costs the work of one share and PROOF_S seconds, however long the pool is broken.
Where no other source is ready, the manager mines on this one whatever its state.

Why REFUSED is 10: finding out how a pool reads version bits costs up to eight refusals in a row (`rolling`). Why
REFUSED_S: a pool that applies a new difficulty at once refuses the shares that were under way, in one burst. At one
share a minute a refusing pool is left after ten minutes. Stale shares of a job that has been replaced say nothing about
a pool: every pool refuses some at a block change. Only where nothing else has been answered for STALE_S do they count.
"""

from __future__ import annotations

from dataclasses import dataclass

from .share import Answer, Reason

REFUSED = 10  # in a row, none accepted between them
REFUSED_S = 20.0  # between the first and the last of the row, at least
STALE_S = 300.0  # the same where the row has stale shares of replaced jobs in it
SILENT_S = 120.0  # no answer to a share for so long, where the source itself raises no alarm
PROOF_S = 2.0  # how long devices stay on a source on trial once a share has been sent to it
FIRST_REST_S, LONGEST_REST_S = 30.0, 600.0
RELIABLE_S = 600.0  # a source that was trusted for so long rests the shortest time again


@dataclass(frozen=True, slots=True)
class _Row:
    """Refusals one after the other."""

    count: int
    since: float

    def longer(self, now: float) -> _Row:
        return _Row(self.count + 1, self.since if self.count else now)

    def lasts(self, seconds: float, now: float) -> bool:
        return self.count >= REFUSED and now - self.since >= seconds


_NONE = _Row(0, 0.0)


@dataclass(slots=True)
class Probation:
    """The state machine of one source. Times are seconds on a monotonic clock."""

    reason: str | None = None  # why it is not trusted, a sentence; None: it is
    rest_s: float = 0.0  # the present rest, or the last one
    _until: float = 0.0  # when the present rest ends
    _tried_at: float | None = None  # when the share of the present trial was sent
    _trusted_at: float = float("-inf")
    _refused: _Row = _NONE  # without stale shares of replaced jobs
    _all_refused: _Row = _NONE  # with them

    def fit(self, now: float) -> bool:
        """Whether the source may have the devices while others are ready."""
        return self.reason is None or (now >= self._until and not self._failed(now))

    def sent(self, now: float) -> None:
        """A share is handed to the source."""
        if self.reason is not None and now >= self._until and self._tried_at is None:
            self._tried_at = now

    def answered(self, answer: Answer, now: float, *, replaced: bool) -> None:
        """The source answered a share; `replaced`: that share's job is dead by now."""
        if answer.accepted:
            self._trust(now)
            return
        if answer.reason is Reason.UNANSWERED or (answer.sent_at is None and not answer.block):
            return  # the share never left, or this is our own word for silence
        self._all_refused = self._all_refused.longer(now)
        if replaced and answer.reason is Reason.STALE:
            self._tried_at = None  # a trial goes on with the next share
        else:
            self._refused = self._refused.longer(now)
        if self._refused.lasts(REFUSED_S, now) or self._all_refused.lasts(STALE_S, now):
            words = f"{answer.reason or Reason.OTHER}" + (f", {answer.text!r}" if answer.text else "")
            count, lasted_s = self._all_refused.count, now - self._all_refused.since
            self._distrust(f"it refused {count} shares in {lasted_s:.0f} s and accepted none; the last: {words}", now)
        elif self._tried_at is not None:
            self._rest(now)

    def silent(self, reason: str, now: float) -> None:
        """The source has answered nothing while shares were under way; `reason` says it in a sentence."""
        self._distrust(reason, now)

    def tick(self, now: float) -> None:
        """Time passed."""
        if self._failed(now):
            self._rest(now)

    def _failed(self, now: float) -> bool:
        return self._tried_at is not None and now - self._tried_at >= PROOF_S

    def _trust(self, now: float) -> None:
        if self.reason is not None:
            self._trusted_at = now
        self.reason, self._tried_at = None, None
        self._refused = self._all_refused = _NONE

    def _distrust(self, reason: str, now: float) -> None:
        if self.reason is None:
            if now - self._trusted_at >= RELIABLE_S:
                self.rest_s = 0.0
            self.reason = reason
            self._rest(now)
        elif now >= self._until:  # on trial; refusals of earlier shares do not extend a rest
            self.reason = reason
            self._rest(now)

    def _rest(self, now: float) -> None:
        self.rest_s = min(2 * self.rest_s, LONGEST_REST_S) if self.rest_s else FIRST_REST_S
        self._until, self._tried_at = now + self.rest_s, None
