"""How many shares a pool is sent: a bucket of tokens, and a local target that gets harder before the bucket is empty.

A pool that sets its difficulty far too low, by mistake or to do harm, would have us send thousands of shares a second.
A bucket of `burst` tokens fills at `rate` a second, and each share takes a token. While the bucket is less than half
full and does not fill up, counting the shares that wait, the local target halves, so that devices look for harder
shares only. The target goes back step by step once the bucket stays full.
"""

from __future__ import annotations

from dataclasses import dataclass, field

STEP_S = 1.0  # the least time between two steps to a harder target
RELAX_S = 60.0  # how long the bucket must be full before it gets easier
MAX_EASING = 1 << 64


@dataclass(slots=True)
class Allowance:
    """One pool's bucket. `easing`: how many times harder the local target is than the pool's."""

    rate: float
    burst: int
    easing: int = 1
    _tokens: float = field(init=False)
    _at: float | None = None
    _stepped_at: float = float("-inf")
    _full_since: float | None = None  # at each look since
    _short: bool = False  # since the last look a share found the bucket less than half full
    _low: float = float("inf")  # tokens beyond what waits for them, at the last step to a harder target

    def __post_init__(self) -> None:
        self._tokens = float(self.burst)

    def take(self, now: float, *, forced: bool = False) -> bool:
        """Take a token for a share. Return whether it may leave now; a forced one (a job's first, a block) may."""
        self._fill(now)
        self._short = self._short or self._tokens < self.burst / 2
        if self._tokens < 1 and not forced:
            return False
        self._tokens = max(0.0, self._tokens - 1)
        return True

    def adjust(self, now: float, waiting: int = 0) -> bool:
        """Look, a few times a second: whether the local target must change now; `easing` says to what.

        `waiting`: shares that are held. They keep the bucket empty long after the target is hard enough.
        """
        self._fill(now)
        short, self._short = self._short or self._tokens < self.burst / 2, False
        left = int(self._tokens) - waiting
        if not short:
            self._low = float("inf")
        elif left <= self._low and now - self._stepped_at >= STEP_S and self.easing < MAX_EASING:
            self.easing *= 2
            self._stepped_at, self._low = now, left
            return True
        if self._tokens < self.burst * 0.9:
            self._full_since = None
        elif self._full_since is None:
            self._full_since = now
        elif self.easing > 1 and now - max(self._stepped_at, self._full_since) >= RELAX_S:
            self.easing //= 2
            self._stepped_at = now
            return True
        return False

    def _fill(self, now: float) -> None:
        if self._at is not None:
            self._tokens = min(float(self.burst), self._tokens + max(0.0, now - self._at) * self.rate)
        self._at = now
