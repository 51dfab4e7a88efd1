"""What every test shares: a skip is a failure in CI, and no test reaches past this machine."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

import native
from backends import cpu
from backends.cpu import choice, cores

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


@pytest.fixture(autouse=True)
def logs_as_they_come() -> Iterator[None]:
    """A test that runs a command in this process leaves no configured log behind."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the miners that tests start keep compiled kernels: compiled once for each worker.

    They remember that the kernel which compiles quickest is the fastest, so that no test measures the others.
    """
    state = tmp_path_factory.mktemp("kernels")
    cache = cpu.open_cache(state, native.host_features())
    quickest = quickest_candidate()
    rates = {x.name: {1: 1.0 + (x == quickest), 16: 1.1 + (x == quickest)} for x in cpu.candidates()}
    choice.write(
        cache.folder, cores.model(), {name: choice.Outcome(rates_hps=by_count) for name, by_count in rates.items()}
    )
    return state / "kernels"


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder for the kernels of this process: compiled once per test run, all workers share it."""
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "native-state"


@pytest.fixture(scope="session")
def cache(state: Path) -> cpu.KernelCache:
    opened = cpu.open_cache(state, native.host_features())
    assert opened.unusable is None
    return opened


@pytest.fixture(scope="session", params=[x.name for x in cpu.candidates() if x.unusable is None])
def kernel(request: pytest.FixtureRequest, cache: cpu.KernelCache) -> native.Kernel:
    """Every search that this machine can run."""
    (candidate,) = [x for x in cpu.candidates() if x.name == request.param]
    return cpu.load(candidate, cache)


@pytest.fixture(scope="session")
def quick(cache: cpu.KernelCache) -> native.Kernel:
    """The kernel that is compiled soonest, for tests that need any: it is fast enough on every machine that runs it."""
    return cpu.load(quickest_candidate(), cache)


def quickest_candidate() -> cpu.Candidate:
    return min((x for x in cpu.candidates() if x.unusable is None), key=lambda x: x.compile_s)
