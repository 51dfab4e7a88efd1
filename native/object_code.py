"""Machine code: made by LLVM from its own language, kept in a file, and put into memory to be called.

The file is an object file with 32 bytes behind it: the digest of what the code is for, and of the code. One that is
torn, or that belongs to another function or processor, is not loaded but made again.
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
    """A function of C, which may be called from any thread and lets others run meanwhile. Raises CompilationError.

    emit: writes its body. folder: where it was kept, or will be; nothing depends on that.
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
    """Without LLVM's passes over its own language, which take half of all the time and make no search faster.

    What could be computed beforehand was, and choosing instructions, which is done with all care, finds the rest.
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
    """Raises RuntimeError for what is no object code, or calls what nobody has."""
    linker = llvm.create_lljit_compiler(use_jit_link=True, suppress_errors=True)
    library = llvm.JITLibraryBuilder().add_object_img(code).export_symbol(name).link(linker, name)
    kinds = (_IN_C.get(str(x), ctypes.c_void_p) for x in (kind.return_type, *kind.args))
    function: Compiled = ctypes.CFUNCTYPE(*kinds)(library[name])
    vars(function).update(library=library)  # which takes its code along when it goes
    return function


def _kept(path: Path, features: Features) -> bytes | None:
    with suppress(OSError):
        data = path.read_bytes()
        if data == _sealed(data[:-_SEAL_BYTES], path, features):
            return data[:-_SEAL_BYTES]
    return None


def _keep(path: Path, data: bytes) -> None:
    """Whole or not at all, whichever processes do the same."""
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
