"""The golden vectors are the chain's; a test that is a coroutine gets an event loop of its own."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from tests.chain.conftest import pytest_configure, pytest_generate_tests

__all__ = ["pytest_configure", "pytest_generate_tests"]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    asyncio.run(pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names}))
    return True
