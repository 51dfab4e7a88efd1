"""The contract on the runtime that pip installs, with a worker process, a compiler and a queue that are all real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import Device, Host
from backends.opencl import OpenclBackend, OpenclOptions
from backends.testing import DeviceContract


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Device]:
    """One state directory for all: the search is built by the first test and loaded by the others."""
    state = Path(tmp_path_factory.mktemp("state"))
    backend = OpenclBackend(OpenclOptions(tune=False, intensity=10, platform="Portable"), Host(state_dir=state))
    (info,) = backend.probe()
    return lambda: backend.open(info)


class TestOpencl(DeviceContract):
    bits = 18
    enough = 1 << 18
    patience_s = 60.0  # a compiler and an interpreter start in it

    @pytest.fixture
    def make_device(self, make: Callable[[], Device]) -> Callable[[], Device]:
        return make
