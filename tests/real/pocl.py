"""PoCL as Debian ships it: a second OpenCL runtime for the processor, newer than pip's, with vectors of 512 bits."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from tests.real import debian
from tests.real.cache import fetched


def environment(folder: Path) -> dict[str, str]:
    """What a process needs to find it; `folder` is for the loader's file. Raises UnavailableError, FetchError."""
    root = fetched("pocl", _fill)
    library = next(root.glob("usr/lib/*/libpocl.so.2"))
    (folder / "pocl.icd").write_text(f"{library}\n")
    paths = [str(library.parent), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
    return {
        "OCL_ICD_VENDORS": str(folder),
        "LD_LIBRARY_PATH": os.pathsep.join(paths),
        "POCL_CACHE_DIR": str(folder / "cache"),
    }


def _fill(root: Path) -> None:
    # The system's own release: the libraries are loaded by the system's interpreter, with its C library.
    debian.unpack(root, "pocl-opencl-icd", suite=platform.freedesktop_os_release().get("VERSION_CODENAME", ""))
