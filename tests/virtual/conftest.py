"""The golden vectors are the chain's; and a virtual pool."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chain.conftest import pytest_configure, pytest_generate_tests
from tests.virtual.pool import VirtualPool

__all__ = ["pytest_configure", "pytest_generate_tests"]


@pytest.fixture
def pool() -> Any:
    with VirtualPool() as pool:
        yield pool
