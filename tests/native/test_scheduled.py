"""The printed unit, run by a processor written in Python: exact on any machine, also where the real one lacks SHA."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

import pytest
from llvmlite import ir

from native import hybrid, scheduled, sha256
from native.hybrid import Buffers
from native.lowering import I32, I64, Memory, Unit
from native.registers import Operation
from native.schedule import Template
from native.scheduled import Scheduled

from .processor import INTEGERS, Processor
from .test_hybrid import HEADER, Columns, eight, judge

ONE, MANY = scheduled.ONE, scheduled.MANY
TIGHT = Template(("**",), (7, 7, 2), window=5, pace=1, margin=0, low=False)
A, B, C, D = 1000, 10_000, 20_000, 30_000


def text(template: Template, *, several: bool) -> tuple[list[str], list[int]]:
    return Scheduled(several=several, template=template).text()


def last_words(lines: list[str], constants: list[int], *, several: bool) -> list[bytes]:
    """What four units in a row, as a scan has them, find in the first of them."""
    header = eight(HEADER)
    layout = hybrid.plan().layout
    words = sha256.words(header)
    slots = layout.fill(INTEGERS, sha256.midstate(header[:64]), words[16:19])
    nonces = [words[19] | lane << 24 for lane in range(8)]
    processor = Processor({})
    processor.memory = dict(enumerate(constants)) | {40_000 + n: slot for n, slot in enumerate(slots)}
    if several:
        message: dict[int, int] = {}
        columns = Columns(slots, message)
        hybrid.header_message(columns, hybrid.Search(columns, layout.program, layout.terms), nonces)
        processor.memory |= {C + place: word for place, word in message.items()}
    for turn in range(3 if several else 4):
        now, before, write, read = (A, B, C, D) if turn % 2 else (B, A, D, C)
        read, write = (C, C) if several else (read, write)
        processor.addresses = {
            "rdi": 0,
            "rsi": now,
            "rdx": before,
            "r8": read,
            "r9": write,
            "r10": 40_000,
            "r11": 40_000,
        }
        processor.write("rsi", hybrid.NONCES, nonces)
        start = [INTEGERS.add(x, words[19] if n in {1, 3} else 0) for n, x in enumerate(slots[:4])]
        processor.write("rsi", hybrid.FIRST, start)
        fifth = [INTEGERS.add(x, 4 << 24 if n in {1, 3} else 0) for n, x in enumerate(start)]
        processor.write("rsi", hybrid.FIRST + 4, fifth)
        processor.run(lines)
    verdicts = processor.read("rsi", hybrid.VERDICTS, 16)
    found = [verdicts[hybrid.pair_place(nonce) + 1] for nonce in range(8)]
    return [INTEGERS.add(x, sha256.IV[7]).to_bytes(4, "big") for x in found]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("template", [ONE, MANY, replace(ONE, low=False), TIGHT])
def test_a_unit_hashes_as_hashlib_does(template: Template, several: bool) -> None:  # noqa: FBT001
    assert last_words(*text(template, several=several), several=several) == judge(eight(HEADER))


@pytest.mark.parametrize(
    "kind",
    [
        Scheduled(several=False, template=scheduled.ONE_AVX2, avx512=False),
        Scheduled(several=True, template=scheduled.MANY_AVX2, avx512=False),
        Scheduled(several=False, template=scheduled.ONE_NARROW, avx512=False, columns=4),
        Scheduled(several=True, template=scheduled.MANY_NARROW, avx512=False, columns=4),
    ],
)
def test_a_unit_without_avx512_hashes_as_hashlib_does(kind: Scheduled) -> None:
    lines, constants = kind.text()
    assert last_words(lines, constants, several=kind.several) == judge(eight(HEADER))
    assert not [line for line in lines if re.search(r"[xy]mm(1[6-9]|[23]\d)|{1to8}|vprord|64 |xord", line)]
    assert not [line for line in lines if re.match(r"vps\w+ .*\(%", line)], "AVX-512 alone shifts what is in memory"
    wide = [line for line in lines if "ymm" in line]
    assert (not wide and lines[1] == "vzeroupper") == (kind.columns == 4)


@pytest.mark.parametrize("seed", range(12))
def test_no_line_can_be_left_out(seed: int) -> None:
    lines, constants = text(MANY, several=True)
    # A constant pair is loaded for each nonce, though the one before has left it there.
    known = [line for line in lines if line.startswith("vmovq") and ("(%rdi)" in line or "(%r10)" in line)]
    idle = {"nop", ".p2align 6", *known}
    place = random.Random(seed).choice([n for n, line in enumerate(lines) if line not in idle])
    assert last_words(lines[:place] + lines[place + 1 :], constants, several=True) != judge(eight(HEADER))


@pytest.mark.parametrize(("template", "several"), [(ONE, False), (MANY, True)])
def test_a_unit_has_the_instructions_that_are_counted_and_no_copies(template: Template, several: bool) -> None:  # noqa: FBT001
    lines, _ = text(template, several=several)
    layout = hybrid.plan().layout
    expected = layout.own if several else layout.own + layout.shared
    wide = Counter(line.split()[0] for line in lines if "ymm" in line)
    counts = Counter(line.split()[0] for line in lines)
    assert counts["sha256rnds2"] == 8 * expected.round_pairs == 480
    assert counts["vmovq"] == 480 + 8
    assert wide["vpaddd"] == expected.add
    assert wide["vprord"] == expected.rotate
    assert wide["vpsrld"] == expected.shift
    assert wide["vpxord"] == 2 * expected.xor3
    assert sum(count for name, count in wide.items() if name.startswith("vpunpck")) == expected.unpack
    assert not counts["vpternlogd"]
    spread = [line for line in lines if line.startswith("vpbroadcastd")]
    assert len({line.split(", ")[0] for line in spread}) == len(spread)
    assert not [line for line in lines if line.startswith("vmov") and "(" not in line]
    spilled = [line for line in lines if line.startswith("vmovdqa64 %ymm") and _place(line) >= 4 * hybrid.SPILLS]
    assert len(spilled) < 0.06 * len(lines)


@pytest.mark.parametrize("several", [False, True])
def test_the_upper_half_of_the_low_registers_can_be_left_clean(several: bool) -> None:  # noqa: FBT001
    lines, _ = text(replace(MANY, low=False), several=several)
    assert lines[1] == "vzeroupper"
    assert not [line for line in lines for n in range(16) if f"%ymm{n}," in f"{line},"]
    assert [line for line in text(ONE, several=False)[0] if "%ymm13" in line]


@pytest.mark.parametrize("several", [False, True])
def test_the_text_is_handed_the_memories_and_the_parameters_of_the_unit_before(several: bool) -> None:  # noqa: FBT001
    words, quad = I32.as_pointer(), ir.VectorType(I32, 4)
    kind = ir.FunctionType(ir.VoidType(), [I32, I64, quad, *[words] * 7])
    function = ir.Function(ir.Module(), kind, "unit")
    builder = ir.IRBuilder(function.append_basic_block())
    first, turn, start, *memories = function.args
    now, before, read, write, params, earlier, scratch = (Memory(builder, x) for x in memories)
    unit = Unit(first, turn, params, earlier, scratch)
    narrow = Scheduled(several=several, template=scheduled.MANY_NARROW, avx512=False, columns=4)
    narrow.emit_streams(builder, unit, Buffers(now, before, read, write), start)
    (call,) = [x for x in builder.block.instructions if isinstance(getattr(x, "callee", None), ir.InlineAsm)]
    handed = [x.operands[0] for x in call.args[1:]]
    assert handed == [*memories[:5], memories[5] if several else memories[4]]
    stored = [x.operands[0] for x in builder.block.instructions if x.opname == "store"]
    assert [x.operands[0] for x in stored[:2]] == [start, start]
    assert len(stored) == (2 if several else 3)


def test_a_unit_that_needs_more_memory_than_it_has_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "UNIT_WORDS", hybrid.SPILLS + 8 * 3)
    with pytest.raises(ValueError, match="spill"):
        text(ONE, several=False)


def test_constants_stand_once_each_and_aligned() -> None:
    constants = scheduled.Constants()
    assert constants.place(5) == constants.place(5) == 0
    assert constants.place(1, 2) == 2
    assert constants.place(1, 2, 3, 4) == 4
    assert constants.place(6) == 8
    assert constants.words == [5, 0, 1, 2, 1, 2, 3, 4, 6]


def test_logic_on_three_words_is_right() -> None:
    program: list[Operation] = []
    recorder = scheduled.Recorder(program, scheduled.Constants(), "r10", "rdx", "rsi")
    a, b, c = (recorder.load(8 * n) for n in range(3))
    for place, function in enumerate((recorder.choose, recorder.majority, recorder.xor3)):
        recorder.store(function(a, b, c), 8 * place)
    processor = Processor({"rdx": 0, "rsi": 100})
    words = [0xF0F01234, 0xCCCC5678, 0xAAAA9ABC]
    processor.memory = {8 * n + lane: word for n, word in enumerate(words) for lane in range(8)}
    lines = scheduled.allocate(program, range(len(program)), range(16, 22), lambda n: f"{n}(%rdx)")
    processor.run([line for operation in lines for line in operation])
    functions = (INTEGERS.choose, INTEGERS.majority, INTEGERS.xor3)
    assert [processor.read("rsi", 8 * n, 1) for n in range(3)] == [[function(*words)] for function in functions]


def _place(line: str) -> int:
    return int(line.split(", ")[1].split("(", maxsplit=1)[0])
