"""A processor in Python for the instructions that the scheduled search is printed in; SHA-256 comes from one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from native import sha256

Words = list[int]

INTEGERS = sha256.Integers()
_MEMORY = re.compile(r"(\d+)\(%(\w+)\)({1to8})?")


def unpack(a: Sequence[int], b: Sequence[int], width: int, *, high: bool) -> Words:
    """Of each four words the lower or higher half, items of `width` bits from a and b in turn."""
    result: Words = []
    for half in range(0, len(a), 4):
        first = half + 2 * high
        x, y = a[first : first + 2], b[first : first + 2]
        result += [x[0], y[0], x[1], y[1]] if width == 32 else [*x, *y]
    return result


def two_rounds(cdgh: Sequence[int], abef: Sequence[int], keyed: Sequence[int]) -> Words:
    (f, e, b, a), (h, g, d, c) = abef, cdgh
    after = sha256.state_after(INTEGERS, (a, b, c, d, e, f, g, h), keyed[:2], 2)
    return [after[n] for n in (5, 4, 1, 0)]


def _each(function: Callable[[int, int], int]) -> Callable[[Words, Words], Words]:
    return lambda a, b: [function(x, y) for x, y in zip(a, b, strict=True)]


# Operands in the order of the text, the destination left out.
_BINARY: dict[str, Callable[[Words, Words], Words]] = {
    "vpaddd": _each(INTEGERS.add),
    "vpxord": _each(lambda x, y: x ^ y),
    "vpandd": _each(lambda x, y: x & y),
    "vpunpckldq": lambda b, a: unpack(a, b, 32, high=False),
    "vpunpckhdq": lambda b, a: unpack(a, b, 32, high=True),
    "vpunpcklqdq": lambda b, a: unpack(a, b, 64, high=False),
    "vpunpckhqdq": lambda b, a: unpack(a, b, 64, high=True),
}
_BINARY |= {"vpxor": _BINARY["vpxord"]}
_SHIFTS: dict[str, Callable[[int, int], int]] = {
    "vprord": INTEGERS.rotate,
    "vpsrld": INTEGERS.shift,
    "vpslld": lambda x, by: x << by & sha256.MASK,
}
_IDLE = {".p2align", "nop", "vzeroupper", "1:", "jnz"}


class Processor:
    """addresses: by register, in words. What was never written holds nonsense."""

    def __init__(self, addresses: dict[str, int]) -> None:
        self.addresses = addresses
        self.memory: dict[int, int] = {}
        self._registers = [[0xDEAD] * 8 for _ in range(32)]
        self._differs = False

    def write(self, register: str, place: int, words: Iterable[int]) -> None:
        for n, word in enumerate(words):
            self.memory[self.addresses[register] + place + n] = word

    def read(self, register: str, place: int, count: int) -> Words:
        return [self.memory.get(self.addresses[register] + place + n, 0xBAD) for n in range(count)]

    def run(self, lines: Sequence[str]) -> None:
        """Line by line; the one label there may be is 1."""
        at = 0
        while at < len(lines):
            self._step(lines[at])
            at = lines.index("1:") if lines[at] == "jnz 1b" and self._differs else at + 1

    def _step(self, line: str) -> None:
        mnemonic, _, rest = line.partition(" ")
        operands = rest.split(", ")
        width = 8 if "ymm" in line else 4
        if mnemonic == "sha256rnds2":
            keyed, abef, cdgh = (self._get(x) for x in operands)
            self._registers[int(operands[2][4:])][:4] = two_rounds(cdgh, abef, keyed)
        elif mnemonic in _BINARY:
            self._set(operands[2], _BINARY[mnemonic](*(self._get(x, width) for x in operands[:2])))
        elif mnemonic in _SHIFTS:
            by = int(operands[0][1:])
            self._set(operands[2], [_SHIFTS[mnemonic](x, by) for x in self._get(operands[1], width)])
        elif mnemonic == "vpbroadcastd":
            self._set(operands[1], self._get(operands[0], 1) * width)
        elif mnemonic == "vmovq":
            self._set(operands[1], self._get(operands[0], 2)[:2], 2)
        elif mnemonic in {"add", "sub"}:
            words = int(operands[0][1:]) // 4
            self.addresses[operands[1][1:]] += words if mnemonic == "add" else -words
        elif mnemonic == "test":
            self._differs = 4 * self.addresses[operands[1][1:]] & int(operands[0][1:]) != 0
        elif mnemonic not in _IDLE:
            assert mnemonic in {"vmovdqa64", "vmovdqa", "vmovdqu"}, line
            self._set(operands[1], self._get(operands[0], width), width)

    def _get(self, operand: str, words: int = 0) -> Words:
        if operand[0] == "%":
            return self._registers[int(operand[4:])][: 8 if operand[1] == "y" else 4]
        place, register, spread = _MEMORY.fullmatch(operand).groups()  # type: ignore[union-attr]
        assert int(place) % 4 == 0
        return (
            self.read(register, int(place) // 4, 1) * 8 if spread else self.read(register, int(place) // 4, words or 4)
        )

    def _set(self, operand: str, words: Words, stored: int = 8) -> None:
        if operand[0] == "%":
            self._registers[int(operand[4:])] = [*words, *[0] * (8 - len(words))]
        else:
            place, register, _ = _MEMORY.fullmatch(operand).groups()  # type: ignore[union-attr]
            self.write(register, int(place) // 4, words[:stored])
