"""The OpenCL runtime that pip installs, which has the processor as its device."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.opencl.runtime import Identity, identities


@pytest.fixture(scope="session")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    patch = pytest.MonkeyPatch()
    patch.setenv("POCL_CACHE_DIR", str(tmp_path_factory.mktemp("pocl")))  # its own, read when it is loaded
    return next(x for x in identities() if x.type == "cpu" and x.platform == "Portable Computing Language")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where programs are kept: compiled once per test run, all workers share it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "opencl-programs"
    shared.mkdir(exist_ok=True, mode=0o700)
    return shared
