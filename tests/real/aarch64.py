"""Searches on a 64-bit ARM processor: LLVM compiles, GNU binutils link, QEMU's user-mode emulation runs.

The program is free-standing: the very scan that a miner runs there. It reads [start, count, rows] and the rows of
parameters, and writes [done, found], 64 bits each, and the hits. Linker and emulator are Debian's, in a folder of their
own.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir

from native.loop import SCAN, SCRATCH_WORDS, VOID, emit_scan
from native.lowering import I32, I64, Lowering
from native.sha256 import Integers, midstate, words
from tests.real import debian
from tests.real.cache import fetched, output_of

TRIPLE = "aarch64-linux-gnu"
JOB_WORDS, ROW_AT, ROOM, MOST_ROWS = 1024, 3, 1 << 12, 32
PATIENCE_S = 60.0

# Linux: the number of a call in x8, arguments and answer from x0 on (asm-generic/unistd.h).
START = """
    .global _start, read, write
_start:
    bl run
    mov x0, #0
    mov x8, #93     // exit
    svc #0
read:
    mov x8, #63
    svc #0
    ret
write:
    mov x8, #64
    svc #0
    ret
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """Debian's tools for the other architecture, as command lines."""

    assembler: tuple[str, ...]
    linker: tuple[str, ...]
    emulator: tuple[str, ...]


def machine() -> Machine:
    """Fetched at the first call; UnavailableError or FetchError if that cannot be."""
    root = fetched("aarch64", _fill)
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"))
    start = (str(loader), "--library-path", str(loader.parent))
    tools = root / "usr" / "bin"
    return Machine(
        assembler=(*start, str(tools / f"{TRIPLE}-as")),
        linker=(*start, str(tools / f"{TRIPLE}-ld.bfd")),
        emulator=(str(tools / "qemu-aarch64"),),
    )


def _fill(root: Path) -> None:
    debian.unpack(root, "qemu-user", f"binutils-{TRIPLE}")
    for other in root.glob("usr/bin/qemu-*"):
        if other.name != "qemu-aarch64":  # the package emulates every architecture there is
            other.unlink()


@dataclass(frozen=True, slots=True)
class Program:
    """A search as an executable file."""

    machine: Machine
    lowering: Lowering
    assembly: str
    path: Path

    def hits(self, header76: bytes, versions: Sequence[int], target: int, nonces: range) -> list[tuple[int, int]]:
        """What the search reports among `nonces`: (nonce, number of the version)."""
        rows = [self._row(struct.pack("<I", version) + header76[4:], target) for version in versions]
        job = [nonces.start, len(nonces), len(rows), *(word for row in rows for word in row)]
        assert len(job) <= JOB_WORDS and len(rows) <= MOST_ROWS and len(nonces) * len(rows) <= ROOM
        answer = subprocess.run(
            [*self.machine.emulator, str(self.path)],
            input=struct.pack(f"<{JOB_WORDS}I", *job, *[0] * (JOB_WORDS - len(job))),
            capture_output=True,
            timeout=PATIENCE_S,
            check=True,
        ).stdout
        done, found = struct.unpack_from("<2q", answer)
        assert done == len(nonces)
        hits: list[tuple[int, int]] = list(struct.iter_unpack("<2I", answer[16:]))
        return hits[:found]

    def _row(self, header76: bytes, target: int) -> list[int]:
        filled = self.lowering.layout().fill(Integers(), midstate(header76[:64]), words(header76[64:]))
        return [*filled, target >> 224]


def expected(header76: bytes, versions: Sequence[int], target: int, nonces: range) -> list[tuple[int, int]]:
    """The same by hashlib alone."""
    found = []
    for nonce in nonces:
        for row, version in enumerate(versions):
            header = struct.pack("<I", version) + header76[4:] + struct.pack("<I", nonce)
            digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
            if int.from_bytes(digest, "little") >> 224 <= target >> 224:
                found.append((nonce, row))
    return found


def build(machine: Machine, lowering: Lowering, features: str, folder: Path) -> Program:
    """Compile for the weakest ARM processor plus these features ("+neon"), and link."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    target = llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu="generic", features=features, opt=3, reloc="static"
    )
    module = llvm.parse_assembly(str(_module(lowering)))
    module.verify()
    folder.joinpath("search.o").write_bytes(target.emit_object(module))
    folder.joinpath("start.s").write_text(START)
    output_of([*machine.assembler, "-o", "start.o", "start.s"], cwd=folder)
    output_of([*machine.linker, "-static", "-o", "search", "start.o", "search.o"], cwd=folder)
    return Program(machine, lowering, target.emit_assembly(module), folder / "search")


def _module(lowering: Lowering) -> ir.Module:
    """`run`: read a job, scan, write what came of it."""
    module = ir.Module()
    module.triple = TRIPLE
    scan = ir.Function(module, SCAN, "scan")
    emit_scan(scan, lowering, avx=False)
    byte_count = ir.FunctionType(I64, [I32, I32.as_pointer(), I64])
    read, write = (ir.Function(module, byte_count, name) for name in ("read", "write"))
    job, ends, hits, cancel, masks, scratch = (
        _array(module, name, size)
        for name, size in (
            ("job", JOB_WORDS),
            ("ends", 4),
            ("hits", 2 * ROOM),
            ("cancel", 1),
            ("masks", MOST_ROWS),
            ("scratch", lowering.scratch_words + SCRATCH_WORDS),
        )
    )
    builder = ir.IRBuilder(ir.Function(module, ir.FunctionType(VOID, []), "run").append_basic_block())
    builder.call(read, [I32(0), job, I64(4 * JOB_WORDS)])
    start, count, rows = (builder.zext(builder.load(builder.gep(job, [I64(n)])), I64) for n in range(ROW_AT))
    done, found = (builder.bitcast(builder.gep(ends, [I64(n)]), I64.as_pointer()) for n in (0, 2))
    params, room = builder.gep(job, [I64(ROW_AT)]), I64(ROOM)
    arguments = [params, rows, start, count, hits, room, cancel, I32(0), masks, scratch, found]
    builder.store(builder.call(scan, arguments), done)
    builder.call(write, [I32(1), ends, I64(16)])
    builder.call(write, [I32(1), hits, I64(8 * ROOM)])
    builder.ret_void()
    return module


def _array(module: ir.Module, name: str, size: int) -> ir.Value:
    array = ir.GlobalVariable(module, ir.ArrayType(I32, size), name)
    array.initializer = ir.Constant(array.value_type, None)
    array.linkage, array.align = "internal", 64
    return array.gep([I64(0), I64(0)])
