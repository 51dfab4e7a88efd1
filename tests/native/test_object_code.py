"""Functions of our own, small enough to see what becomes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llvmlite import ir

import native
from native import object_code
from native.loop import VOID, WORDS, counting
from native.lowering import I32, I64, call

HOST = native.host_features({})
WEAK = HOST.weakened_to([])
KIND = ir.FunctionType(I64, [I64])

Build = Callable[..., Callable[[int], int]]


def adding(number: int) -> Callable[[ir.Function], None]:
    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(builder.add(function.args[0], I64(number)))

    return emit


def refused(*_: Any) -> None:
    raise AssertionError("it was kept, and need not be made again")


def made(folder: Path | None, emit: Callable[..., None], features: native.Features = HOST) -> Callable[[int], int]:
    return object_code.compiled("f", KIND, emit, features, folder)


def test_what_was_kept_is_not_made_again(tmp_path: Path) -> None:
    assert made(tmp_path / "new", adding(1))(41) == 42
    assert made(tmp_path / "new", refused)(41) == 42
    assert [x.name for x in (tmp_path / "new").iterdir()] == ["f.o"]
    with pytest.raises(native.CompilationError, match="need not be made"):
        made(None, refused)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[1:],
        lambda data: data[: len(data) // 2],
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
    ],
)
def test_a_torn_file_is_made_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    made(tmp_path, adding(1))
    kept = tmp_path / "f.o"
    kept.write_bytes(damage(kept.read_bytes()))
    assert made(tmp_path, adding(2))(40) == 42
    assert made(tmp_path, refused)(40) == 42


def test_a_file_of_another_kernel_processor_or_function_is_not_used(tmp_path: Path) -> None:
    made(tmp_path / "a", adding(1))
    code = (tmp_path / "a" / "f.o").read_bytes()
    for place in (tmp_path / "b" / "f.o", tmp_path / "a" / "g.o"):
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(code)
    assert made(tmp_path / "b", adding(2))(40) == 42
    assert made(tmp_path / "a", adding(3), WEAK)(39) == 42
    assert object_code.compiled("g", KIND, adding(4), HOST, tmp_path / "a")(38) == 42


@pytest.mark.parametrize("place", ["file/f", "gone/deeper", "file"])
def test_where_nothing_can_be_kept_it_works_all_the_same(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert made(tmp_path / place, adding(1))(41) == 42


def test_what_no_file_system_takes_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _target: Path) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(Path, "replace", full)
    assert made(tmp_path, adding(1))(41) == 42
    assert not list(tmp_path.iterdir())


def test_one_process_compiles_for_several_processors() -> None:
    wide = ir.VectorType(I32, 16)

    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        places = [builder.bitcast(x, wide.as_pointer()) for x in function.args]
        a, b = (builder.load(x) for x in places)
        for value in (a, b):
            value.align = 4
        builder.store(builder.mul(a, b), places[0]).align = 4
        builder.ret_void()

    for features in (HOST, WEAK, HOST):
        a, b = np.arange(16, dtype=np.uint32), np.arange(16, 32, dtype=np.uint32)
        product = a * b
        multiply = object_code.compiled("multiply", ir.FunctionType(VOID, [WORDS, WORDS]), emit, features)
        multiply(a.ctypes.data, b.ctypes.data)
        assert a.tolist() == product.tolist()


def test_what_calls_a_function_that_nobody_has_is_refused(tmp_path: Path) -> None:
    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(call(builder, "nobody_has_this", I64, function.args))

    with pytest.raises(native.CompilationError, match=f"f for {HOST.cpu}"):
        made(tmp_path, emit)
    assert not list(tmp_path.iterdir())


def test_what_llvm_refuses_is_reported_as_such() -> None:
    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        builder.ret(builder.fadd(*function.args * 2))

    with pytest.raises(native.CompilationError, match="invalid operand type"):
        made(None, emit)


def test_the_code_lives_as_long_as_its_function_and_runs_without_the_interpreter() -> None:
    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        flag = builder.inttoptr(function.args[0], I32.as_pointer())
        loop, end = (function.append_basic_block() for _ in range(2))
        builder.branch(loop)
        builder.position_at_end(loop)
        waiting = builder.icmp_unsigned("==", builder.load_atomic(flag, "monotonic", 4), I32(0))
        builder.cbranch(waiting, loop, end)
        builder.position_at_end(end)
        builder.ret(I64(7))

    flag, answers = np.zeros(1, np.uint32), []
    # Nobody has the function but the thread that is in it.
    thread = threading.Thread(target=lambda *wait: answers.append(wait[0](flag.ctypes.data)), args=[made(None, emit)])
    thread.start()
    time.sleep(0.01)
    flag[0] = 1  # nobody would come here if the thread kept the interpreter
    thread.join(10.0)
    assert answers == [7]


@pytest.mark.parametrize(("first", "end"), [(0, 5), (3, 5), (4, 4), (5, 2), (-2, 1)])
def test_counting_goes_from_the_first_up_to_the_end(first: int, end: int) -> None:
    def emit(function: ir.Function) -> None:
        builder = ir.IRBuilder(function.append_basic_block())
        place = builder.alloca(I64)
        builder.store(I64(0), place)
        with counting(builder, I64(first), function.args[0]) as number:
            builder.store(builder.add(builder.mul(builder.load(place), I64(10)), builder.add(number, I64(3))), place)
        builder.ret(builder.load(place))

    assert made(None, emit)(end) == int("0" + "".join(str(n + 3) for n in range(first, end)))
