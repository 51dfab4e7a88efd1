"""The OpenCL runtime that pip installs, which has the processor as its device."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.opencl.runtime import Identity, identities
from tests.sharing import shared


@pytest.fixture(scope="session")
def processor() -> Identity:
    return next(x for x in identities() if x.type == "cpu" and x.platform == "Portable Computing Language")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are kept: compiled once per test run, all workers share it."""
    programs = shared(tmp_path_factory) / "opencl-programs"
    programs.mkdir(exist_ok=True, mode=0o700)
    return programs
