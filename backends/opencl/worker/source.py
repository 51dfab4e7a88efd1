"""The search of `native.symbolic` in OpenCL C: one straight line of code for a few nonces under a few versions.

    __kernel void search(__constant uint *p, uint base, __global uint *out)

A work-item tests `batches` of `width` consecutive nonces; item 0 begins with nonce `base`, a multiple of `Form.item`.
`p` is a job's parameter block (`parameters`). `out` is a counter and PAIRS pairs of (nonce, version's number); the
counter goes on counting when the pairs are full.

Versions share the message of the header's second block. Their rounds advance together, so that of this message only
the sixteen words of its schedule are alive at any time, as with one version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from native import MASK, Integers, Search, Word, layout, midstate, words

WIDTHS = (1, 2, 4, 8, 16)
MIDSTATES = (1, 2, 4)
PAIRS = 255  # of hits that fit a launch: 2 KiB to read back
OUT_WORDS = 1 + 2 * PAIRS
KERNEL = "search"

_HEAD = """\
typedef {word} word;
{macros}
inline uint swapped(uint x) {{ return x >> 24 | (x >> 8 & 0xff00u) | (x << 8 & 0xff0000u) | x << 24; }}

__kernel __attribute__((reqd_work_group_size({group}, 1, 1)))
void search(__constant uint *restrict p, const uint base, volatile __global uint *restrict out)
{{
const uint item = base + (uint)get_global_id(0) * {item}u;
for (uint batch = 0; batch < {batches}u; batch++) {{
const uint first = item + batch * {width}u;
const word nonce = {nonce};
"""
_ROTATE = {
    "function": "#define ROTATE(x, left) rotate(x, (word)(left))",
    "shifts": "#define ROTATE(x, left) ((x) << (left) | (x) >> (32 - (left)))",
}
_SELECT = {
    "function": (
        "#define CHOOSE(e, f, g) bitselect((word)(g), (word)(f), (word)(e))\n"
        "#define MAJORITY(a, b, c) bitselect((word)(a), (word)(b), (word)(a) ^ (word)(c))"
    ),
    # The b ^ c of a majority is the a ^ b of the next round's: compilers compute it once.
    "logic": (
        "#define CHOOSE(e, f, g) ((g) ^ ((e) & ((f) ^ (g))))\n"
        "#define MAJORITY(a, b, c) ((b) ^ (((a) ^ (b)) & ((b) ^ (c))))"
    ),
}


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write the search down; which is the fastest depends on device and compiler.

    width: nonces in a vector. midstates: versions searched together. rotate, select: by OpenCL's functions, or spelt
    out. group: work-items in a work-group. batches: vectors of nonces that a work-item tests one after the other.
    """

    width: int = 1
    midstates: int = 1
    rotate: Literal["function", "shifts"] = "function"
    select: Literal["function", "logic"] = "function"
    group: int = 64
    batches: int = 1

    def __post_init__(self) -> None:
        powers = (self.group, self.batches)
        if self.width not in WIDTHS or self.midstates not in MIDSTATES or any(x < 1 or x & (x - 1) for x in powers):
            raise ValueError(f"no such form: {self}")

    @property
    def name(self) -> str:
        """All that there is to it, fit for a file's name."""
        return (
            f"uint{self.width}-midstates{self.midstates}-rotate-{self.rotate}-select-{self.select}"
            f"-group{self.group}-batches{self.batches}"
        )

    @property
    def item(self) -> int:
        """Nonces that a work-item tests."""
        return self.width * self.batches

    @property
    def quantum(self) -> int:
        """Nonces that a work-group tests: a launch is so many, or a multiple."""
        return self.item * self.group


def parameters(header76: bytes, versions: Sequence[int], target: int, rows: int) -> list[int]:
    """The parameter block: a row of uniform terms for each version, the target's top word, and what decides quickly.

    Rows beyond the versions repeat the last one. The last word has the bits that are 0 in every hit, as SHA-256 reads
    it, all of them when difficulty is at least 1: they are looked at first.
    """
    block: list[int] = []
    tail = words(header76[64:])
    for version in versions:
        state = midstate(version.to_bytes(4, "little") + header76[4:64])
        row = layout().fill(Integers(), state, tail)
        block += row
    block += block[-layout().target_slot :] * (rows - len(versions))
    top = target >> 224
    zero = MASK & ~((1 << top.bit_length()) - 1)
    return [*block, top, int.from_bytes(zero.to_bytes(4, "little"), "big")]


def parameter_words(form: Form) -> int:
    """The size of the parameter block."""
    return form.midstates * layout().target_slot + 2


def search_source(form: Form) -> str:
    """The program."""
    lines: list[Line] = []
    shared = Text(lines, "w", 0)
    message = list(_following(shared, _search(shared).header_message("nonce")))
    verdicts = []
    for row in range(form.midstates):
        own = Text(lines, f"v{row}_", row)
        verdicts.append(_search(own).last_word(_following(own, message)))
    target = form.midstates * layout().target_slot
    body = [line.text for line in sorted(lines, key=lambda line: line.round)]  # stable: the message first
    body += [_verdict(form, word, row, target) for row, word in enumerate(verdicts)]
    return _head(form) + "\n".join(body) + "\n}\n}\n"


@dataclass(frozen=True, slots=True)
class Line:
    """A statement, and which of the header's rounds needs it first; what comes after them counts to the last."""

    round: int
    text: str


class Text:
    """A metal whose words are names of variables, or what may stand in place of one.

    prefix: of the names. row: whose parameters.
    """

    def __init__(self, lines: list[Line], prefix: str, row: int) -> None:
        self._lines = lines
        self._prefix = prefix
        self._row = row
        self._names = 0
        self.round = 0

    def constant(self, value: int) -> str:
        return f"{value:#010x}u"

    def slot(self, index: int) -> str:
        return f"p[{self._row * layout().target_slot + index}]"

    def add(self, a: str, b: str) -> str:
        return self._new(f"{a} + {b}")

    def rotate(self, x: str, right: int) -> str:
        return self._new(f"ROTATE({x}, {32 - right}u)")

    def shift(self, x: str, right: int) -> str:
        return self._new(f"{x} >> {right}u")

    def xor3(self, a: str, b: str, c: str) -> str:
        return self._new(f"{a} ^ {b} ^ {c}")

    def choose(self, e: str, f: str, g: str) -> str:
        return self._new(f"CHOOSE({e}, {f}, {g})")

    def majority(self, a: str, b: str, c: str) -> str:
        return self._new(f"MAJORITY({a}, {b}, {c})")

    def shared(self, x: str) -> str:
        return x

    def _new(self, expression: str) -> str:
        name = f"{self._prefix}{self._names}"
        self._names += 1
        self._lines.append(Line(self.round, f"const word {name} = {expression};"))
        return name


def _search(metal: Text) -> Search[str]:
    return Search(metal, layout().program, layout().terms)


def _following(metal: Text, message: Iterable[Word[str]]) -> Iterator[Word[str]]:
    """The message, telling the metal which round asks for it."""
    iterator = iter(message)
    while True:
        word = next(iterator, None)
        if word is None:
            return
        yield word
        metal.round += 1


def _head(form: Form) -> str:
    word = "uint" if form.width == 1 else f"uint{form.width}"
    # A multiple of the width leaves the low bits free for the lane's number, which swapping puts into the top byte.
    lanes = ", ".join(f"{lane << 24:#010x}u" for lane in range(form.width))
    nonce = "swapped(first)" if form.width == 1 else f"swapped(first) | (word)({lanes})"
    return _HEAD.format(
        word=word,
        macros=f"{_ROTATE[form.rotate]}\n{_SELECT[form.select]}",
        group=form.group,
        item=form.item,
        batches=form.batches,
        width=form.width,
        nonce=nonce,
    )


def _verdict(form: Form, word: str, row: int, target: int) -> str:
    """Report what is at most the target: of all lanes the few bits that decide nearly always, then each in full."""
    quick = f"({word} & p[{target + 1}]) == 0u"
    if form.width == 1:
        return f"if ({quick}) {{\n{_report(word, 'first', row, target)}\n}}"
    lanes = (_report(f"{word}.s{lane:x}", f"first + {lane}u", row, target) for lane in range(form.width))
    return f"if (any({quick})) {{\n" + "\n".join(lanes) + "\n}"


def _report(word: str, nonce: str, row: int, target: int) -> str:
    return (
        f"if (swapped({word}) <= p[{target}]) {{ const uint n = atomic_inc(out);"
        f" if (n < {PAIRS}u) {{ out[1 + 2 * n] = {nonce}; out[2 + 2 * n] = {row}u; }} }}"
    )
