"""Machine code: made by LLVM from its own language, kept in a file, and put into memory to be called.

The file is an object file followed by 32 bytes: a digest over the purpose of the code and the code itself. A file that
is torn, or that belongs to another function or processor, is not loaded; the code is made again.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from native.errors import CompilationError
from native.features import Features

Compiled = Callable[..., Any]
Emit = Callable[[ir.Function], None]

llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
llvm.initialize_native_asmparser()

_SEAL_BYTES = 32
_IN_C: dict[str, Any] = {"void": None, "i32": ctypes.c_uint32, "i64": ctypes.c_int64}
_lock = threading.Lock()  # LLVM keeps everything of a process in one context


def compiled(name: str, kind: ir.FunctionType, emit: Emit, features: Features, folder: Path | None = None) -> Compiled:
    """Return a C function, which any thread may call and which releases the GIL. Raises CompilationError.

    emit: writes the function's body. folder: cache directory; the result is the same with or without it.
    """
    path = folder and folder / f"{name}.o"
    with _lock:
        try:
            if path and (code := _kept(path, features)):
                return _loaded(code, name, kind)
            function = ir.Function(ir.Module(name), kind, name)
            emit(function)
            code = _object_code(function, features)
            loaded = _loaded(code, name, kind)
        except Exception as error:
            raise CompilationError(f"{name} for {features.cpu}: {error}") from error
        if path:
            with suppress(OSError):  # a full disk: it is compiled again next time
                _keep(path, _sealed(code, path, features))
        return loaded


def _object_code(function: ir.Function, features: Features) -> bytes:
    """The function as an object file, made without LLVM's IR passes: they take half of the time and gain no speed.

    Constants are folded before this point, and instruction selection runs at -O3.
    """
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=features.cpu, features=features.target, opt=3, reloc="pic", codemodel="default"
    )
    function.attributes.add("nounwind")
    module = llvm.parse_assembly(str(function.module))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    module.verify()
    return bytes(machine.emit_object(module))


def _loaded(code: bytes, name: str, kind: ir.FunctionType) -> Compiled:
    """Link the object code. Raises RuntimeError for invalid code and for calls to unknown functions."""
    linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    library = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(name).link(linker, name)
    kinds = (_IN_C.get(str(x), ctypes.c_void_p) for x in (kind.return_type, *kind.args))
    function: Compiled = ctypes.CFUNCTYPE(*kinds)(library[name])
    vars(function).update(library=library)  # the code lives as long as the function
    return function


def _kept(path: Path, features: Features) -> bytes | None:
    with suppress(OSError):
        data = path.read_bytes()
        if data == _sealed(data[:-_SEAL_BYTES], path, features):
            return data[:-_SEAL_BYTES]
    return None


def _keep(path: Path, data: bytes) -> None:
    """Write the file whole or not at all, even while other processes write it."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    mine = path.with_suffix(f".{os.getpid()}")
    try:
        mine.write_bytes(data)
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)


def _sealed(code: bytes, path: Path, features: Features) -> bytes:
    purpose = f"{path.parent.name} {path.name} {features.fingerprint} "
    return code + hashlib.sha256(purpose.encode() + code).digest()
