"""A test that is a coroutine gets an event loop of its own, as those of the protocols do."""

from __future__ import annotations

from tests.sources.stratum.conftest import pytest_pyfunc_call

__all__ = ["pytest_pyfunc_call"]
