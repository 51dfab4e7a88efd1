"""What every test shares: a skip is a failure in CI, and no test reaches past this machine."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("angara", deadline=None, derandomize=os.environ.get("CI") == "true", print_blob=True)
settings.load_profile("angara")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped under CI=true, where a skip is a failure: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the miners that tests start keep compiled kernels: compiled once for each worker."""
    return tmp_path_factory.mktemp("kernels")
