"""Words whose value is known now, once per job, or only per nonce, and the arithmetic that keeps the three apart.

    constant   an int, folded here
    uniform    a Term: a step of the job's Program, worked out once per job
    varying    a value of some metal plus a constant or a Term that has not been added yet

Adding is the only operation that mixes them without loss, so that is where the uniform part waits: all the uniform
parts of a sum meet in one number, and the metal adds it once, from a slot of the parameter block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from native.sha256 import Algebra, Integers

V = TypeVar("V")
W = TypeVar("W")

_INTEGERS = Integers()


@dataclass(frozen=True, slots=True)
class Term:
    """A value of a Program, by the number of the step that makes it."""

    step: int


Uniform = int | Term


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: a method of Algebra with its words, and the distance where it rotates or shifts."""

    operation: str
    operands: tuple[Uniform, ...]
    distance: int = 0


class Program:
    """An algebra that writes down what it is asked to compute, each different step once, and folds constants."""

    def __init__(self, inputs: int) -> None:
        self.inputs = tuple(Term(index) for index in range(inputs))
        self._steps: list[Step] = []
        self._terms: dict[Step, Term] = {}

    def run(self, algebra: Algebra[W], inputs: Sequence[W], wanted: Sequence[Term]) -> list[W]:
        """The values of `wanted`, from as many inputs as the program has."""
        values = list(inputs)
        for step in self._steps:
            operands = [algebra.constant(x) if isinstance(x, int) else values[x.step] for x in step.operands]
            distance = [step.distance] if step.distance else []
            values.append(getattr(algebra, step.operation)(*operands, *distance))
        return [values[term.step] for term in wanted]

    def constant(self, value: int) -> Uniform:
        return value

    def add(self, a: Uniform, b: Uniform) -> Uniform:
        if a == 0:
            return b
        return a if b == 0 else self._note(Step("add", (a, b)))

    def rotate(self, x: Uniform, right: int) -> Uniform:
        return self._note(Step("rotate", (x,), right))

    def shift(self, x: Uniform, right: int) -> Uniform:
        return self._note(Step("shift", (x,), right))

    def xor3(self, a: Uniform, b: Uniform, c: Uniform) -> Uniform:
        return self._note(Step("xor3", (a, b, c)))

    def choose(self, e: Uniform, f: Uniform, g: Uniform) -> Uniform:
        return self._note(Step("choose", (e, f, g)))

    def majority(self, a: Uniform, b: Uniform, c: Uniform) -> Uniform:
        return self._note(Step("majority", (a, b, c)))

    def shared(self, x: Uniform) -> Uniform:
        return x

    def _note(self, step: Step) -> Uniform:
        if all(isinstance(x, int) for x in step.operands):
            distance = [step.distance] if step.distance else []
            folded: int = getattr(_INTEGERS, step.operation)(*step.operands, *distance)
            return folded
        if step not in self._terms:
            self._terms[step] = Term(len(self.inputs) + len(self._steps))
            self._steps.append(step)
        return self._terms[step]


class Metal(Algebra[V], Protocol[V]):
    """Words of a machine that computes many nonces at once."""

    def slot(self, index: int) -> V:
        """The uniform word in this place of the parameter block."""


@dataclass(slots=True)
class Word(Generic[V]):
    """The sum of a varying part, None if there is none, and a uniform one."""

    varying: V | None = None
    uniform: Uniform = 0
    settled: V | None = field(default=None, repr=False)  # the sum, once the metal has made it


class Symbolic(Generic[V]):
    """An algebra of Words that leaves to the metal only what depends on the nonce.

    slots: terms of the program in the order of the parameter block; what the metal asks for besides is appended.
    """

    def __init__(self, program: Program, metal: Metal[V], slots: Sequence[Term] = ()) -> None:
        self.program = program
        self.metal = metal
        self.slots = list(slots)

    def settle(self, x: Word[V]) -> V:
        """The whole value as a word of the metal."""
        if x.settled is None:
            if x.varying is None:
                x.settled = self._spread(x.uniform)
            else:
                x.settled = x.varying if x.uniform == 0 else self.metal.add(x.varying, self._spread(x.uniform))
        return x.settled

    def constant(self, value: int) -> Word[V]:
        return Word(uniform=value)

    def add(self, a: Word[V], b: Word[V]) -> Word[V]:
        varying: V | None = None
        uniform: Uniform = 0
        for x in (a, b):
            part, rest = x.varying, x.uniform
            if part is not None and x.settled is not None:  # somebody paid for the sum: take it whole
                part, rest = x.settled, 0
            uniform = self.program.add(uniform, rest)
            if part is not None:
                varying = part if varying is None else self.metal.add(varying, part)
        return Word(varying, uniform)

    def rotate(self, x: Word[V], right: int) -> Word[V]:
        if x.varying is None:
            return Word(uniform=self.program.rotate(x.uniform, right))
        return Word(self.metal.rotate(self.settle(x), right))

    def shift(self, x: Word[V], right: int) -> Word[V]:
        if x.varying is None:
            return Word(uniform=self.program.shift(x.uniform, right))
        return Word(self.metal.shift(self.settle(x), right))

    def xor3(self, a: Word[V], b: Word[V], c: Word[V]) -> Word[V]:
        return self._of(self.program.xor3, self.metal.xor3, a, b, c)

    def choose(self, e: Word[V], f: Word[V], g: Word[V]) -> Word[V]:
        return self._of(self.program.choose, self.metal.choose, e, f, g)

    def majority(self, a: Word[V], b: Word[V], c: Word[V]) -> Word[V]:
        return self._of(self.program.majority, self.metal.majority, a, b, c)

    def shared(self, x: Word[V]) -> Word[V]:
        return x if x.varying is None else Word(self.settle(x))

    def _of(self, known: Callable[..., Uniform], computed: Callable[..., V], *words: Word[V]) -> Word[V]:
        if all(x.varying is None for x in words):
            return Word(uniform=known(*(x.uniform for x in words)))
        return Word(computed(*map(self.settle, words)))

    def _spread(self, x: Uniform) -> V:
        if isinstance(x, int):
            return self.metal.constant(x)
        if x not in self.slots:
            self.slots.append(x)
        return self.metal.slot(self.slots.index(x))
