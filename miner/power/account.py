"""What was got for the energy: hashes and shares over just those stretches of time in which the energy is known.

Dividing energy that has gaps by work that has none would flatter the miner; so work done in a gap is left out, and
what was done while a meter was silent waits until its counter has bridged the silence or has not.
"""

from __future__ import annotations

from dataclasses import dataclass

from miner.power.tariff import Bill, joules_per_hash


@dataclass(frozen=True, slots=True)
class Mark:
    """Where everything stands at one moment; all of it only grows, cost aside."""

    joules: float
    gap_s: float
    hashes: int
    difficulty: float = 0.0  # sum over accepted shares


class Account:
    """Energy on one side, work on the other."""

    def __init__(self) -> None:
        self._bill = Bill()
        self._base: Mark | None = None
        self._base_cost = 0.0
        self.joules = 0.0  # these four over the stretches that count
        self.hashes = 0
        self.difficulty = 0.0
        self.cost = 0.0

    @property
    def spent(self) -> float | None:
        """What all known energy has cost, in the tariff's currency."""
        return self._bill.cost

    @property
    def joules_per_hash(self) -> float | None:
        return joules_per_hash(self.joules or None, self.hashes)

    @property
    def cost_per_difficulty(self) -> float | None:
        """Of one accepted share of difficulty 1."""
        return self.cost / self.difficulty if self.difficulty > 0 and self._bill.cost is not None else None

    def handle(self, mark: Mark, *, known: bool, price_per_kwh: float | None) -> None:
        """Where everything stands now. `known`: whether the energy is up to date, or its meter silent at present."""
        if price_per_kwh is not None:
            self._bill.handle(mark.joules, price_per_kwh)
        if not known:
            return
        if mark.hashes == 0:  # starting up, compiling: as little part of efficiency as it is of the rate
            self._base, self._base_cost = mark, self._bill.cost or 0.0
            return
        base, cost = self._base, self._bill.cost or 0.0
        if base is not None and mark.gap_s <= base.gap_s:
            if mark.joules <= base.joules:
                return
            self.joules += mark.joules - base.joules
            self.hashes += mark.hashes - base.hashes
            self.difficulty += mark.difficulty - base.difficulty
            self.cost += cost - self._base_cost
        self._base, self._base_cost = mark, cost
