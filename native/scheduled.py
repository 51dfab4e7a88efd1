"""The hybrid search as one text of instructions for each unit, in an order and in registers of our choosing.

What LLVM makes of `native.hybrid` loses a tenth of the speed to copies between registers and to an order that is not
quite the one given. Here rounds keep to registers 1 to 12 and read what they add from memory through register 0; the
vector part has the rest, takes constants as operands in memory, and follows the rounds as a template says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llvmlite import ir

from native import hybrid
from native.hybrid import LANES, Buffers, Hybrid, Vectors, plan
from native.lowering import I32, Unit
from native.pairs import run_pairs
from native.registers import MOVE, Operation, allocate
from native.schedule import Template, arrange
from native.word import Uniform

# Where the text finds things: the registers that hold the addresses, in the order in which they are handed over.
CONSTANTS, NOW, BEFORE, READ, WRITE, PARAMS, EARLIER = "rdi", "rsi", "rdx", "r8", "r9", "r10", "r11"
_ADDRESSES = (CONSTANTS, NOW, BEFORE, READ, WRITE, PARAMS, EARLIER)
_CLOBBERED = ("memory", "dirflag", "fpsr", "flags")

Value = int | str  # the number of an operation, or an operand in memory: one word for all lanes


def at(register: str, place: int) -> str:
    """The operand that is so many words after an address."""
    return f"{4 * place}(%{register})"


class Constants:
    """The words that a text reads from memory and that no job changes."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}

    def place(self, *words: int) -> int:
        """Where these words are, side by side and aligned to their size."""
        if words not in self._places:
            self.words += [0] * (-len(self.words) % len(words))
            self._places[words] = len(self.words)
            self.words += words
        return self._places[words]


class Recorder:
    """A metal that writes down vector instructions, those of AVX-512."""

    def __init__(self, program: list[Operation], constants: Constants, params: str, read: str, write: str) -> None:
        self._program = program
        self._constants = constants
        self._params, self._read, self._write = params, read, write
        self._loaded: dict[str, int] = {}

    def constant(self, value: int) -> Value:
        return at(CONSTANTS, self._constants.place(value)) + "{1to8}"

    def slot(self, index: int) -> Value:
        return at(self._params, index) + "{1to8}"

    def add(self, a: Value, b: Value) -> Value:
        return self._binary("vpaddd", a, b)

    def rotate(self, x: Value, right: int) -> Value:
        return self._note("vprord", self._in_register(x), immediate=right)

    def shift(self, x: Value, right: int) -> Value:
        return self._note("vpsrld", self._in_register(x), immediate=right)

    def xor3(self, a: Value, b: Value, c: Value) -> Value:
        # Beside the round instruction of Zen 4 one ternary operation takes longer than two binary ones.
        return self._binary("vpxord", self._binary("vpxord", a, b), c)

    def choose(self, e: Value, f: Value, g: Value) -> Value:
        return self._binary("vpxord", self._binary("vpandd", self._binary("vpxord", f, g), e), g)

    def majority(self, a: Value, b: Value, c: Value) -> Value:
        return self.choose(self._binary("vpxord", a, b), c, a)

    def shared(self, x: Value) -> Value:
        return x

    def load(self, place: int) -> Value:
        return self._note(MOVE, memory=at(self._read, place))

    def store(self, value: Value, place: int) -> None:
        self._note(MOVE, self._in_register(value), memory=at(self._write, place))

    def unpack(self, a: Value, b: Value, width: int, *, high: bool) -> Value:
        name = f"vpunpck{'h' if high else 'l'}{'dq' if width == I32.width else 'qdq'}"
        return self._note(name, self._in_register(a), self._in_register(b))

    def _binary(self, mnemonic: str, a: Value, b: Value) -> int:
        if isinstance(a, str):
            a, b = b, a
        if isinstance(b, str):
            return self._note(mnemonic, self._in_register(a), memory=b)
        return self._note(mnemonic, self._in_register(a), b)

    def _in_register(self, x: Value) -> int:
        if isinstance(x, int):
            return x
        if x not in self._loaded:
            self._loaded[x] = self._note("vpbroadcastd", memory=x.removesuffix("{1to8}"))
        return self._loaded[x]

    def _note(self, mnemonic: str, *sources: int, memory: str | None = None, immediate: int | None = None) -> int:
        self._program.append(Operation(mnemonic, sources, memory, immediate))
        return len(self._program) - 1


class PlainRecorder(Recorder):
    """The same for AVX2: no rotation, and an operand in memory is as wide as the vector."""

    def constant(self, value: int) -> Value:
        return at(CONSTANTS, self._constants.place(*[value] * LANES))

    def slot(self, index: int) -> Value:
        return self._note("vpbroadcastd", memory=at(self._params, index))

    def rotate(self, x: Value, right: int) -> Value:
        left = self._note("vpslld", self._in_register(x), immediate=I32.width - right)
        return self._binary("vpxord", self.shift(x, right), left)

    def _in_register(self, x: Value) -> int:
        return x if isinstance(x, int) else self._note(MOVE, memory=x)


class Chain:
    """The rounds of one nonce in two registers that swap parts; steps: the lines up to and with each instruction."""

    def __init__(self, place: int, abef: Sequence[str], cdgh: str) -> None:
        self.abef, self.cdgh = (f"%xmm{2 * place + n}" for n in (1, 2))
        self.steps: list[list[str]] = []
        first, *sums = abef
        self._begin = [f"vmovdqa {first}, {self.abef}", *(f"vpaddd {x}, {self.abef}, {self.abef}" for x in sums)]
        self._begin.append(f"vmovdqu {cdgh}, {self.cdgh}")

    def two_rounds(self, cdgh: str, abef: str, keyed: str) -> str:
        begin, self._begin = self._begin, []
        self.steps.append([*begin, f"vmovq {keyed}, %xmm0", f"sha256rnds2 %xmm0, {abef}, {cdgh}"])
        return cdgh


def _spill(number: int) -> str:
    place = hybrid.SPILLS + LANES * number
    if place + LANES > hybrid.UNIT_WORDS:
        raise ValueError(f"the template keeps more than {number} vectors waiting: no memory to spill them to")
    return at(NOW, place)


def _moved(operation: str, by: int) -> list[str]:
    return [f"{operation} ${by}, %{register}" for register in (NOW, BEFORE, READ, WRITE)]


def _chain(place: int, constants: Constants, second: bool, nonce: int) -> list[list[str]]:  # noqa: FBT001
    if second:
        cdgh = at(CONSTANTS, constants.place(*hybrid.digest_start()[4:]))
        chain = Chain(place, [at(BEFORE, hybrid.STARTS + hybrid.quad_place(nonce))], cdgh)
        abef, _ = run_pairs(chain, chain.abef, chain.cdgh, _added(constants, plan().digest, BEFORE, nonce))
        ends = [f"vmovq {abef}, {at(NOW, hybrid.VERDICTS + hybrid.pair_place(nonce))}"]
    else:
        numbered = at(CONSTANTS, constants.place(*hybrid.lane_quad(nonce)))
        chain = Chain(place, [at(NOW, hybrid.FIRST), numbered], at(PARAMS, hybrid.START + 4))
        halves = run_pairs(chain, chain.abef, chain.cdgh, _added(constants, plan().header, READ, nonce))
        ends = [
            f"vmovdqa {half}, {at(NOW, hybrid.DIGESTS + 32 * n + hybrid.quad_place(nonce))}"
            for n, half in enumerate(halves)
        ]
    chain.steps[-1] += ends
    return chain.steps


def _added(constants: Constants, known: Sequence[Uniform | None], read: str, nonce: int) -> Iterator[str]:
    return plan().added(
        known,
        constant=lambda x, y: at(CONSTANTS, constants.place(x, y)),
        slot=lambda index: at(PARAMS, index),
        stored=lambda place: at(read, place + hybrid.pair_place(nonce)),
    )


@dataclass(frozen=True, slots=True)
class Scheduled(Hybrid):
    """A lowering: the hybrid search, with a unit's middle as text; see `Hybrid` for the rest.

    avx512: the target has it. columns: how many nonces a vector has. With four, the text does half of a
    unit and runs twice: what belongs to the second half lies 16 bytes further, wherever it is.
    """

    template: Template
    avx512: bool = True
    columns: int = LANES
    sse_encodings = False

    def emit_streams(self, builder: ir.IRBuilder, unit: Unit, there: Buffers, start: ir.Value) -> None:
        for n in range(LANES // self.columns):
            nonce = builder.add(start, ir.Constant(start.type, hybrid.lane_quad(n * self.columns)))
            there.now.store(nonce, hybrid.FIRST + 4 * n, 16)
        if not self.several:
            metal = Vectors(builder, unit.params, there.before, there.now)
            metal.store(metal.nonces(unit.first), hybrid.NONCES)
        earlier = unit.earlier if self.several else unit.params
        memories = (there.now, there.before, there.read, there.write, unit.params, earlier)
        self.emit_text(builder, [x.address for x in memories])

    def emit_text(self, builder: ir.IRBuilder, addresses: Sequence[ir.Value]) -> None:
        """Put a unit's text in. addresses: what NOW, BEFORE, READ, WRITE, PARAMS and EARLIER are to hold."""
        lines, words = self.text()
        name = builder.module.get_unique_name("table")
        table = ir.GlobalVariable(builder.module, ir.ArrayType(I32, len(words)), name)
        table.linkage, table.global_constant, table.align = "private", True, 64
        table.initializer = ir.Constant(table.type.pointee, words)
        inputs = [builder.bitcast(x, ir.IntType(8).as_pointer()) for x in (table, *addresses)]
        clobbered = [*(f"xmm{n}" for n in range(32 if self.avx512 else 16)), *_CLOBBERED]
        constraints = [*(f"{{{x}}}" for x in _ADDRESSES), *(f"~{{{x}}}" for x in clobbered)]
        kind = ir.FunctionType(ir.VoidType(), [x.type for x in inputs])
        text = "\n".join(lines).replace("$", "$$")
        builder.call(ir.InlineAsm(kind, text, ",".join(constraints), side_effect=True), inputs)

    def text(self) -> tuple[list[str], list[int]]:
        """The lines of a unit, and the words of its constants."""
        constants = Constants()
        program = self._program(constants)
        rounds = self._rounds(constants)
        beats = arrange(program, self.template, len(rounds))
        order = [number for beat in beats for number in beat if number is not None]
        low = range(1 + 2 * max(self.template.groups), 16) if self.template.low else ()
        registers = [*range(16, 32), *low] if self.avx512 else low
        vectors = iter(allocate(program, order, registers, _spill, avx512=self.avx512))
        lines: list[str] = []
        for n, beat in enumerate(beats):
            lines += rounds[n] if n < len(rounds) else []
            for number in beat:
                lines += ["nop"] if number is None else map(self._spelled, next(vectors))
        if self.columns < LANES:
            lines = ["1:", *lines, *_moved("add", 16), f"test $16, %{NOW}", "jnz 1b", *_moved("sub", 32)]
        # A low register's upper half in use makes Intel's processors pay 100 cycles for each round instruction. A text
        # for them uses none, and clears what was used before it.
        clean = not self.template.low or self.columns < LANES
        return [".p2align 6", *(["vzeroupper"] if clean else []), *lines], constants.words

    def _program(self, constants: Constants) -> list[Operation]:
        program: list[Operation] = []
        recorder = Recorder if self.avx512 else PlainRecorder
        digest = recorder(program, constants, EARLIER, BEFORE, NOW)
        hybrid.digest_message(digest, hybrid.search_on(digest))
        if not self.several:
            header = recorder(program, constants, PARAMS, NOW, WRITE)
            hybrid.header_message(header, hybrid.search_on(header), header.load(hybrid.NONCES))
        return program

    def _rounds(self, constants: Constants) -> list[list[str]]:
        """The lines of each round instruction: those of the second hash first, whose input is older."""
        work = [(second, nonce) for second in (True, False) for nonce in range(self.columns)]
        steps: list[list[str]] = []
        for group in self.template.groups:
            chains = [_chain(place, constants, *item) for place, item in enumerate(work[:group])]
            work = work[group:]
            steps += [step for side_by_side in zip(*chains, strict=True) for step in side_by_side]
        return steps

    def _spelled(self, line: str) -> str:
        """AVX2's name for the instruction, and the register that the vector fits."""
        if not self.avx512:
            line = line.replace("vmovdqa64", "vmovdqa").replace("vpxord", "vpxor")
        return line if self.columns == LANES else line.replace("%ymm", "%xmm")


# Found on Zen 4 by trying some 24,000: the first for one version, the second for several.
ONE = Template(("n", "*u", "****n*****", ""), (6, 4, 6), window=60, pace=2.7, margin=2)
MANY = Template(("n", "nu**"), (5, 6, 5), window=30, pace=0, margin=0)
# For AVX2, whose 16 registers leave the vectors few. The last two are those of vectors of four, found on a Xeon.
ONE_AVX2 = Template(("****",), (4, 4, 4, 4), window=3, pace=2.8, margin=1)
MANY_AVX2 = Template(("**",), (4, 4, 4, 4), window=3, pace=1.4, margin=1)
ONE_NARROW = Template(("********",), (3, 3, 2), window=3, pace=5.6, margin=1)
MANY_NARROW = Template(("****",), (3, 3, 2), window=3, pace=2.8, margin=1)
