"""Software pipelining: instructions emitted one stream after the other, merged into one sequence.

A processor looks a few hundred instructions ahead. Streams that are to run at the same time must therefore stand side
by side, and LLVM keeps by and large to the order that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir


def cut(builder: ir.IRBuilder, emit: Callable[[], object]) -> list[ir.Instruction]:
    """What `emit` appends to the builder's block, taken out of it again."""
    block = builder.block
    before = len(block.instructions)
    emit()
    stream: list[ir.Instruction] = block.instructions[before:]
    del block.instructions[before:]
    builder.position_at_end(block)
    return stream


def weave(streams: Sequence[Sequence[ir.Instruction]], cost: Callable[[ir.Instruction], int]) -> list[ir.Instruction]:
    """All streams in one, each in its order, so that each has at any point the same share of its cost behind it.

    What costs nothing goes with the next that does.
    """
    placed = []
    for stream in streams:
        total, spent = sum(map(cost, stream)) or 1, 0
        for instruction in stream:
            placed.append((spent / total, instruction))
            spent += cost(instruction)
    return [instruction for _, instruction in sorted(placed, key=lambda x: x[0])]


def append(builder: ir.IRBuilder, stream: Sequence[ir.Instruction]) -> None:
    """Put a stream at the end of the builder's block."""
    builder.block.instructions.extend(stream)
    builder.position_at_end(builder.block)
