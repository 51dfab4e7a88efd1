"""The search for a merge template: the best so far with something changed, now and then another altogether.

Nobody knows a rule for good templates, and they lie close together: hence small changes, and a new beginning that is
only followed when it is better at once. A processor's neighbours can only make a template look slower than it is.
What seems to win is therefore measured again, by turns with what it would replace.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from native.schedule import LETTERS, Template

from .templates import GROUPS

_NEW = 0.15  # of all: drawn instead of changed
_AGAIN = 3
_MOST_BEATS, _LONGEST = 8, 10
_WIDTHS = (4, 5, 6)  # chains side by side: fewer wait for each other, more leave too few registers
_SIMPLE = (
    "***nau"  # letters to draw from: most instructions are additions, logic and rotations, whatever they are called
)

Measure = Callable[[Template], float]  # seconds; ValueError: it cannot be printed


class Tuning:
    """best: of all that were measured; best_s: what it took. Begins with the best of `known`."""

    def __init__(self, known: Sequence[Template], measure: Measure, random: Random) -> None:
        self._measure = measure
        self._random = random
        self._seen = set(known)
        self.tried = len(known)
        self.best_s, self.best = min(((measure(x), x) for x in known), key=lambda x: x[0])

    def step(self) -> bool:
        """Try one more; whether it is the best now."""
        template = drawn(self._random) if self._random.random() < _NEW else changed(self.best, self._random)
        if template in self._seen:
            return False
        self._seen.add(template)
        self.tried += 1
        try:
            return self._measure(template) < self.best_s and self._wins(template)
        except ValueError:
            return False

    def _wins(self, template: Template) -> bool:
        both = [(self._measure(self.best), self._measure(template)) for _ in range(_AGAIN)]
        self.best_s, its_s = (min(column) for column in zip(*both, strict=True))
        if its_s >= self.best_s:
            return False
        self.best, self.best_s = template, its_s
        return True


def drawn(random: Random) -> Template:
    """Any template of those that may be good."""
    beats = ["".join(random.choice(_SIMPLE) for _ in range(random.randint(0, 5))) for _ in range(random.randint(1, 4))]
    return Template(
        tuple(beats),
        _groups(random),
        window=random.randint(10, 100),
        pace=random.choice((0, 1, 2, 2.5, 3, 4)),
        margin=random.randint(0, 4),
        low=random.random() < 0.5,
    )


def changed(template: Template, random: Random) -> Template:
    """The template with one thing changed, or a few."""
    for _ in range(random.choice((1, 1, 2, 3))):
        change = random.choice((_beats, _beats, _beats, _others))
        template = change(template, random)
    return template


def _beats(template: Template, random: Random) -> Template:
    """One letter or beat more, less or other."""
    beats = list(template.beats)
    place = random.randrange(len(beats))
    beat = beats[place]
    at = random.randrange(len(beat) + 1)
    letter = random.choice(_SIMPLE if random.random() < 0.8 else LETTERS)
    kind = random.randrange(6)
    if kind == 0 and len(beat) < _LONGEST:
        beats[place] = beat[:at] + letter + beat[at:]
    elif kind == 1:
        beats[place] = beat[:at] + beat[at + 1 :]
    elif kind == 2:
        beats[place] = beat[:at] + letter + beat[at + 1 :]
    elif kind == 3 and len(beats) < _MOST_BEATS:
        beats.insert(place, random.choice((beat, letter, "")))
    elif kind == 4 and len(beats) > 1:
        del beats[place]
    else:
        beats.append(beats.pop(place))
    return replace(template, beats=tuple(beats))


def _others(template: Template, random: Random) -> Template:
    kind = random.randrange(5)
    if kind == 0:
        return replace(template, groups=_groups(random))
    if kind == 1:
        return replace(template, window=max(template.window + random.randint(-12, 12), 1))
    if kind == 2:
        return replace(template, pace=round(max(template.pace + random.uniform(-0.6, 0.6), 0), 1))
    if kind == 3:
        return replace(template, margin=max(template.margin + random.choice((-1, 1)), 0))
    return replace(template, low=not template.low)


def _groups(random: Random) -> tuple[int, ...]:
    """Numbers of nonces side by side that make 16."""
    while True:
        groups: list[int] = []
        while (left := GROUPS - sum(groups)) >= min(_WIDTHS):
            groups.append(random.choice([x for x in _WIDTHS if x <= left]))
        if not left:
            return tuple(groups)
