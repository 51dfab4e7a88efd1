"""Registers for a list of vector instructions whose order is settled, and their text in AT&T syntax.

Values stay in registers until their last use. When none is free, the value that is used again last goes to memory
(Belady's rule, the best there is for a list without branches), and is an operand in memory from then on wherever the
instruction can take one there. Values are written once, so that a register is copied to memory at most once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOVE = "vmovdqa64"
COMMUTATIVE = {"vpaddd", "vpxord"}


@dataclass(frozen=True, slots=True)
class Operation:
    """A vector instruction; its place in the program is the name of its value.

    sources: values, at most two. memory: an operand in memory: where a store goes, else the last source.
    """

    mnemonic: str
    sources: tuple[int, ...] = ()
    memory: str | None = None
    immediate: int | None = None

    @property
    def stores(self) -> bool:
        return self.mnemonic == MOVE and bool(self.sources)


def allocate(
    program: Sequence[Operation],
    order: Sequence[int],
    registers: Sequence[int],
    spill: Callable[[int], str],
    *,
    avx512: bool = True,
) -> list[list[str]]:
    """The lines of each operation of `order`.

    spill: the operand that is memory's place 0, 1, ..., 32 bytes aligned. avx512: the target has it; without it, an
    instruction with an immediate takes no operand in memory (Intel SDM, VPSLLD).
    """
    allocator = _Allocator(program, order, registers, spill, avx512=avx512)
    return [allocator.lines(number) for number in order]


class _Allocator:
    def __init__(
        self,
        program: Sequence[Operation],
        order: Sequence[int],
        registers: Sequence[int],
        spill: Callable[[int], str],
        *,
        avx512: bool,
    ) -> None:
        self._program = program
        self._avx512 = avx512
        self._spill = spill
        self._free = list(reversed(registers))
        self._registers: dict[int, int] = {}
        self._spilled: dict[int, int] = {}
        self._vacant: list[int] = []
        self._uses: dict[int, deque[int]] = {number: deque() for number in order}
        for position, number in enumerate(order):
            for value in program[number].sources:
                self._uses[value].append(position)

    def lines(self, number: int) -> list[str]:
        operation = self._program[number]
        sources = list(operation.sources)
        lines: list[str] = []
        if len(sources) == 2 and sources[0] not in self._registers and operation.mnemonic in COMMUTATIVE:
            sources.reverse()
        # One operand at most may be in memory, and it is the last.
        register_only = operation.memory or (operation.immediate is not None and not self._avx512)
        for value in sources if register_only else sources[:-1]:
            if value not in self._registers:
                register = self._take(lines, sources)
                lines.append(f"{MOVE} {self._operand(value)}, %ymm{register}")
                self._registers[value] = register
        operands = [self._operand(value) for value in sources]
        done = {value for value in sources if self._used(value)}
        self._free += [self._registers.pop(value) for value in done if value in self._registers]
        if operation.stores:
            lines.append(f"{MOVE} {operands[0]}, {operation.memory}")
        else:
            operands += [operation.memory] if operation.memory else []
            operands += [f"${operation.immediate}"] if operation.immediate is not None else []
            register = self._take(lines, sources)
            lines.append(f"{operation.mnemonic} {', '.join(reversed(operands))}, %ymm{register}")
            if self._uses[number]:
                self._registers[number] = register
            else:
                self._free.append(register)
        # Only now: what took the place of a source would have been written before the source was read.
        self._vacant += [self._spilled.pop(value) for value in done if value in self._spilled]
        return lines

    def _used(self, value: int) -> bool:
        """Whether this was the last use."""
        uses = self._uses[value]
        if uses:
            uses.popleft()
        return not uses

    def _operand(self, value: int) -> str:
        return f"%ymm{self._registers[value]}" if value in self._registers else self._spill(self._spilled[value])

    def _take(self, lines: list[str], keep: Sequence[int]) -> int:
        if self._free:
            return self._free.pop()
        value = max((x for x in self._registers if x not in keep), key=lambda x: self._uses[x][0])
        register = self._registers.pop(value)
        if value not in self._spilled:
            self._spilled[value] = self._vacant.pop() if self._vacant else len(self._spilled)
            lines.append(f"{MOVE} %ymm{register}, {self._spill(self._spilled[value])}")
        return register
