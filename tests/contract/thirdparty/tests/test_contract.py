"""What a third party's own test suite looks like: its device, found by name, under the miner's contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from backends import registry
from backends.base import Device, DeviceGone, Host
from backends.testing import DeviceContract


class TestExample(DeviceContract):
    bits = 7

    @pytest.fixture
    def make_device(self) -> Callable[[], Device]:
        backend_type = registry.load("example")
        backend = backend_type(backend_type.Options(), Host())
        return lambda: backend.open(backend.probe()[0])


def test_a_device_that_is_not_there_is_gone() -> None:
    backend_type = registry.load("example")
    backend = backend_type(backend_type.Options(), Host())
    with pytest.raises(DeviceGone):
        backend.open(replace(backend.probe()[0], id="example:7"))
