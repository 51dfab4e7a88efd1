"""The duty of a card at its temperature: reduced above the target, a tenth when it overheats, none above the cut-off.

        target - hysteresis      target         overheat        cutoff
    ------------+------------------+---------------+---------------+-------> °C
      a little     as it is           a little        a tenth         stops until it is
      more                            less                            below target - hysteresis

Duty works on every card, whatever its driver lets anybody set. A card that reported its temperature and stops reporting
it is stopped, because nobody knows how hot it is. The defaults are those of cgminer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.opencl.protocol import Temperature

STALE_S = 10.0  # without a reading, after there were some
_STEP = 0.05  # of duty
_SETTLE_S = 5.0  # between two steps, since a card warms and cools slowly
_LEAST = 0.1  # duty of an overheated card


@dataclass(frozen=True, slots=True)
class Limits:
    """Degrees Celsius; target < overheat < cutoff."""

    target_c: float = 75.0
    overheat_c: float = 85.0
    cutoff_c: float = 95.0
    hysteresis_c: float = 3.0


class Thermal:
    """duty: the most that is allowed now. stopped: why the card is stopped, a sentence; None while it is not."""

    def __init__(self, limits: Limits) -> None:
        self.duty = 1.0
        self.stopped: str | None = None
        self._limits = limits
        self._seen_at: float | None = None
        self._stepped_at: float | None = None

    def sensed(self, temperatures: Sequence[Temperature], now: float) -> None:
        """Take a reading into account; the first temperature is the one that is controlled."""
        if not temperatures:
            self.elapsed(now)
            return
        self._seen_at = now
        limits, core = self._limits, temperatures[0].celsius
        resume_c = limits.target_c - limits.hysteresis_c
        if core >= limits.cutoff_c:
            self._stop(
                f"{core:g} °C is at its cutoff of {limits.cutoff_c:g} °C: stopped until it is below {resume_c:g} °C"
            )
        elif over := next((x for x in temperatures if x.critical_c is not None and x.celsius >= x.critical_c), None):
            self._stop(f"{over.sensor} is at {over.celsius:g} °C, which its maker calls critical: stopped to cool down")
        elif self.stopped and core >= resume_c:
            return
        else:
            self.stopped = None
            self._steer(core, now)

    def elapsed(self, now: float) -> None:
        """Time passes without a reading."""
        if self._seen_at is not None and now - self._seen_at >= STALE_S:
            self._stop("its temperature can no longer be read: stopped until it can")

    def _stop(self, why: str) -> None:
        self.stopped, self.duty = why, _LEAST

    def _steer(self, core: float, now: float) -> None:
        limits = self._limits
        if core >= limits.overheat_c:
            self.duty = _LEAST
        elif self._stepped_at is None or now - self._stepped_at >= _SETTLE_S:
            self._stepped_at = now
            if core > limits.target_c:
                self.duty = max(_LEAST, self.duty - _STEP)
            elif core < limits.target_c - limits.hysteresis_c:
                self.duty = min(1.0, self.duty + _STEP)
