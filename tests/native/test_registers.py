"""Allocated text does what the program says, whatever the program and however few the registers."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from native.registers import MOVE, Operation, allocate

from .processor import INTEGERS, Processor, unpack

IN, OUT, SPILLED = "rdi", "rsi", "rdx"
INPUTS = 16


@st.composite
def programs(draw: st.DrawFn) -> list[Operation]:
    program: list[Operation] = []
    values: list[int] = []
    for _ in range(draw(st.integers(1, 60))):
        kinds = ["load", "broadcast"] + (["add", "unpack", "rotate", "constant", "store"] if values else [])
        kind = draw(st.sampled_from(kinds))
        source = st.sampled_from(values) if values else st.nothing()
        place = 4 * draw(st.integers(0, INPUTS - 1))
        if kind == "load":
            operation = Operation(MOVE, memory=f"{8 * place}(%{IN})")
        elif kind == "broadcast":
            operation = Operation("vpbroadcastd", memory=f"{place}(%{IN})")
        elif kind == "constant":
            operation = Operation("vpaddd", (draw(source),), f"{place}(%{IN}){{1to8}}")
        elif kind == "rotate":
            operation = Operation("vprord", (draw(source),), immediate=draw(st.integers(1, 31)))
        elif kind == "store":
            operation = Operation(MOVE, (draw(source),), f"{32 * len(program)}(%{OUT})")
        else:
            mnemonic = "vpaddd" if kind == "add" else "vpunpckldq"
            operation = Operation(mnemonic, (draw(source), draw(source)))
        if not operation.stores:
            values.append(len(program))
        program.append(operation)
    return program + [Operation(MOVE, (x,), f"{32 * (100 + x)}(%{OUT})") for x in values if draw(st.booleans())]


def meaning(program: Sequence[Operation], inputs: Sequence[int]) -> dict[int, list[int]]:
    """What a program leaves behind, without registers."""
    values: dict[int, list[int]] = {}
    stored: dict[int, list[int]] = {}
    for number, operation in enumerate(program):
        sources = [values[x] for x in operation.sources]
        place = int(operation.memory.split("(")[0]) // 4 if operation.memory else 0
        if operation.stores:
            stored[place] = sources[0]
        elif operation.mnemonic == MOVE:
            values[number] = list(inputs[place : place + 8])
        elif operation.mnemonic == "vpbroadcastd":
            values[number] = [inputs[place]] * 8
        elif operation.immediate is not None:
            values[number] = [INTEGERS.rotate(x, operation.immediate) for x in sources[0]]
        elif operation.mnemonic == "vpunpckldq":
            values[number] = unpack(*sources, 32, high=False)
        else:
            other = sources[1] if len(sources) == 2 else [inputs[place]] * 8
            values[number] = [INTEGERS.add(x, y) for x, y in zip(sources[0], other, strict=True)]
    return stored


def run(lines: Sequence[Sequence[str]], inputs: Sequence[int]) -> Processor:
    processor = Processor({IN: 0, OUT: 10_000, SPILLED: 20_000})
    processor.write(IN, 0, inputs)
    processor.run([line for operation in lines for line in operation])
    return processor


def spill(number: int) -> str:
    return f"{32 * number}(%{SPILLED})"


@given(programs(), st.integers(3, 9), st.booleans())
def test_no_value_is_lost_before_its_last_use(program: list[Operation], registers: int, avx512: bool) -> None:  # noqa: FBT001
    inputs = [n * 0x9E3779B9 & 0xFFFFFFFF for n in range(8 * INPUTS + 8)]
    lines = allocate(program, range(len(program)), range(20, 20 + registers), spill, avx512=avx512)
    processor = run(lines, inputs)
    for place, words in meaning(program, inputs).items():
        assert processor.read(OUT, place, 8) == words
    used = {
        name for operation in lines for line in operation for name in line.replace(",", "").split() if "%ymm" in name
    }
    assert used <= {f"%ymm{n}" for n in range(20, 20 + registers)}


def test_the_value_whose_use_is_farthest_goes_to_memory_once_and_is_read_there() -> None:
    program = [Operation(MOVE, memory=f"{32 * n}(%{IN})") for n in range(4)]
    program += [Operation("vpaddd", pair) for pair in ((1, 2), (3, 0), (3, 0))]
    lines = [line for operation in allocate(program, range(7), range(3), spill) for line in operation]
    assert lines == [
        "vmovdqa64 0(%rdi), %ymm0",
        "vmovdqa64 32(%rdi), %ymm1",
        "vmovdqa64 64(%rdi), %ymm2",
        "vmovdqa64 %ymm0, 0(%rdx)",
        "vmovdqa64 96(%rdi), %ymm0",
        *[line for line in lines[5:] if line.startswith("vpaddd")],
    ]
    assert lines[6:] == ["vpaddd 0(%rdx), %ymm0, %ymm2", "vpaddd 0(%rdx), %ymm0, %ymm0"]


def test_without_avx512_what_is_rotated_or_shifted_is_in_a_register() -> None:
    program = [Operation(MOVE, memory=f"{32 * n}(%{IN})") for n in range(3)]
    program += [Operation("vpsrld", (n,), immediate=1) for n in range(3)]
    texts = {
        avx512: [line for each in allocate(program, range(6), range(2), spill, avx512=avx512) for line in each]
        for avx512 in (False, True)
    }
    in_memory = {
        avx512: [line for line in lines if line.startswith("vps") and "(" in line] for avx512, lines in texts.items()
    }
    assert len(in_memory[True]) == 1 and not in_memory[False]


def test_a_place_in_memory_is_used_again() -> None:
    loads = [Operation(MOVE, memory=f"{32 * n}(%{IN})") for n in range(4)]
    sums = [Operation("vpaddd", pair) for pair in ((0, 1), (2, 3), (4, 5))]
    program = loads + sums
    again = [Operation(x.mnemonic, tuple(7 + y for y in x.sources), x.memory) for x in program]
    lines = allocate(program + again, range(14), range(2), spill)
    assert {
        line.split(", ")[1] for operation in lines for line in operation if f"(%{SPILLED})" in line.split(", ")[1]
    } == {
        spill(0),
        spill(1),
    }
