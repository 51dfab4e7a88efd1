"""The contract on the processor, with the kernel that this machine really gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import Device, Host
from backends.cpu import CpuBackend, CpuOptions
from backends.cpu.priority import Priority
from backends.testing import DeviceContract


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """One state directory for all: the kernel is compiled by the first test and found by the others."""
    return Host(state_dir=Path(tmp_path_factory.mktemp("state")))


class TestCpu(DeviceContract):
    bits = 18
    enough = 1 << 18

    @pytest.fixture
    def make_device(self, host: Host) -> Callable[[], Device]:
        # Two threads at least, so that they can get into each other's way; no lower than the test itself, which waits.
        backend = CpuBackend(CpuOptions(threads=2, priority=Priority.NORMAL), host)
        return lambda: backend.open(backend.probe()[0])
