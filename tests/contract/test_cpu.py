"""The contract on the processor, with a kernel that was compiled and measured before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.base import Device, Host
from backends.cpu import CpuBackend, CpuOptions
from backends.cpu.priority import Priority
from backends.testing import DeviceContract


class TestCpu(DeviceContract):
    bits = 18
    enough = 1 << 18

    @pytest.fixture
    def make_device(self, kernels: Path) -> Callable[[], Device]:
        # Two threads at least, so that they can get into each other's way; no lower than the test itself, which waits.
        backend = CpuBackend(CpuOptions(threads=2, priority=Priority.NORMAL), Host(state_dir=kernels.parent))
        return lambda: backend.open(backend.probe()[0])
