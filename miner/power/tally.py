"""The energy of one meter from its samples, whether it counts joules or only knows watts."""

from __future__ import annotations

from miner.power.energy import LONGEST_GAP_S, MOST_W, Energy
from miner.power.reading import Sample


class Tally:
    """Joules since the first sample; they never fall. What `Energy` says of gaps holds for the whole.

    A meter with several counters (the zones of a processor, the phases of a rack) has an `Energy` for each.
    """

    def __init__(self, *, longest_gap_s: float = LONGEST_GAP_S, most_w: float = MOST_W) -> None:
        self._longest_gap_s = longest_gap_s
        self._most_w = most_w
        self._before_j: float | None = None  # of meters that this one was before: it had other counters
        self._before_gap_s = 0.0
        self._counts = 0
        self._energies = [self._energy()]
        self.watts: float | None = None  # None: not known now

    @property
    def joules(self) -> float | None:
        """Of all counters, as far as they are known."""
        known = [energy.joules for energy in self._energies if energy.joules is not None]
        known += [] if self._before_j is None else [self._before_j]
        return sum(known) if known else None

    @property
    def gap_s(self) -> float:
        """Seconds that are not in the joules of at least one counter."""
        return self._before_gap_s + max(energy.gap_s for energy in self._energies)

    def handle(self, sample: Sample) -> None:
        """Take one more sample; one that is not newer than the last changes nothing."""
        if len(sample.counters) != self._counts:
            self._before_j, self._before_gap_s = self.joules, self.gap_s
            self._counts = len(sample.counters)
            self._energies = [self._energy() for _ in range(self._counts or 1)]
        for energy, counter in zip(self._energies, sample.counters, strict=False):
            energy.counter(sample.at, counter.joules, counter.range_j, counter.step_j)
        if not sample.counters:
            if sample.watts is None:
                self.lost(sample.at)
                return
            self._energies[0].power(sample.at, sample.watts)
        self.watts = self._sum_w() if sample.watts is None else sample.watts

    def lost(self, at: float) -> None:
        """It could not be read."""
        for energy in self._energies:
            energy.lost(at)
        self.watts = None

    def _sum_w(self) -> float | None:
        known = [energy.watts for energy in self._energies if energy.watts is not None]
        return sum(known) if len(known) == len(self._energies) else None

    def _energy(self) -> Energy:
        return Energy(longest_gap_s=self._longest_gap_s, most_w=self._most_w)
