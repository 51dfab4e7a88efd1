from __future__ import annotations

from llvmlite import ir

from native.weave import append, cut, weave

I32 = ir.IntType(32)


def names(stream: list[ir.Instruction]) -> list[str]:
    return [instruction.name for instruction in stream]


def chain(builder: ir.IRBuilder, prefix: str, length: int) -> None:
    value = builder.function.args[0]
    for n in range(length):
        value = builder.add(value, value, name=f"{prefix}{n}")


def builder() -> ir.IRBuilder:
    function = ir.Function(ir.Module(), ir.FunctionType(I32, [I32]), "f")
    return ir.IRBuilder(function.append_basic_block())


def test_what_is_cut_out_leaves_the_block_as_it_was() -> None:
    here = builder()
    chain(here, "before", 2)
    stream = cut(here, lambda: chain(here, "cut", 3))
    chain(here, "after", 1)
    assert names(stream) == ["cut0", "cut1", "cut2"]
    assert names(here.block.instructions) == ["before0", "before1", "after0"]
    append(here, stream)
    assert names(here.block.instructions)[3:] == ["cut0", "cut1", "cut2"]


def test_streams_of_any_length_end_together_each_in_its_order() -> None:
    here = builder()
    long, short = cut(here, lambda: chain(here, "l", 6)), cut(here, lambda: chain(here, "s", 2))
    assert names(weave([long, short], lambda _: 1)) == ["l0", "s0", "l1", "l2", "l3", "s1", "l4", "l5"]


def test_what_costs_nothing_stays_with_what_comes_after_it() -> None:
    here = builder()
    one, other = cut(here, lambda: chain(here, "a", 4)), cut(here, lambda: chain(here, "b", 2))
    free = {"a0", "a2"}
    assert names(weave([one, other], lambda x: int(x.name not in free))) == ["a0", "a1", "b0", "a2", "a3", "b1"]
