"""The golden vectors are the chain's."""

from __future__ import annotations

from tests.chain.conftest import pytest_configure, pytest_generate_tests

__all__ = ["pytest_configure", "pytest_generate_tests"]
