"""How well a board's chips do: results against what their clock promises, per chip and core; and what is no result.

Two conclusions for the driver, `silent` (start the chips anew) and `errs` (run them slower), and sentences for people.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from backends.asic.boards.board import BoardKind
from backends.asic.chips.chip import CHIPS

_CERTAIN = 20.0  # results that cannot all be missing by chance: once in half a billion times
_CORES_TOLD = 128  # a result names its core in seven bits
_LISTED = 8
_ENOUGH = 20  # results before anything is said of a ratio
_WRONG_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Silence:
    """Chips with work are silent after this many missing results and this many seconds."""

    due: float = _CERTAIN
    least_s: float = 5.0


class Health:
    """Of one board since it was brought up. Two threads write, each its own figures."""

    def __init__(self, kind: BoardKind, now: float, silence: Silence | None = None) -> None:
        self._cores = min(CHIPS[kind.chip].cores, _CORES_TOLD)
        self._chips = kind.chips
        self._silence = silence or Silence()
        self._due = self._due_at_last = 0.0
        self._heard_at = self._at = now
        self._judged = (0, 0)
        self.results = 0
        self.wrong = 0
        self.of_chip: Counter[int] = Counter()
        self.of_core: Counter[tuple[int, int]] = Counter()
        self.garbage: Counter[str] = Counter()

    def hashed(self, results_hz: float, now: float) -> None:
        """Count the time since the last call. `results_hz`: results a second due by clock and ticket; 0: no work."""
        self._due += results_hz * (now - self._at)
        if not results_hz:
            self._heard_at, self._due_at_last = now, self._due
        self._at = now

    def good(self, chip: int | None, core: int | None, now: float) -> None:
        """Count a right result."""
        self.results += 1
        if chip is not None:
            self.of_chip[chip] += 1
        if chip is not None and core is not None:
            self.of_core[chip, core] += 1
        self._heard_at, self._due_at_last = now, self._due

    def silent(self, now: float) -> bool:
        """Whether too few results have come for too long."""
        missing = self._due - self._due_at_last
        return missing >= self._silence.due and now - self._heard_at >= self._silence.least_s

    def errs(self) -> bool:
        """Whether too many results were wrong since this last returned True."""
        results, wrong = self.results - self._judged[0], self.wrong - self._judged[1]
        if results + wrong < _ENOUGH:
            return False
        self._judged = (self.results, self.wrong)
        return wrong > _WRONG_RATIO * (results + wrong)

    def findings(self) -> list[str]:
        """The faults of the chips, for people."""
        found = []
        chips = [chip for chip in range(self._chips) if not self.of_chip[chip]]
        if self._chips > 1 and self._due >= _CERTAIN * self._chips and chips and self.of_chip:
            found.append(f"silent chips: {_listed(chips)}")
        if self.of_core and min(self.results, self._due) >= _CERTAIN * self._chips * self._cores:
            each = ((chip, core) for chip in range(self._chips) for core in range(self._cores))
            cores = [core for chip, core in each if not self.of_core[chip, core]]
            if cores:
                found.append(f"silent cores: {_listed(cores)}")
        if self.wrong and self.wrong > _WRONG_RATIO * self.results:
            found.append(f"{self.wrong} of {self.results + self.wrong} results were wrong")
        return found


def _listed(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_LISTED]))
    return shown if len(numbers) <= _LISTED else f"{shown} and {len(numbers) - _LISTED} more"
