"""What every test shares: a skip is a failure in CI, and no test reaches past this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

import native
from backends.asic.virtual.chips.search import Engine
from backends.cpu import cores
from backends.cpu.choice import choice
from backends.cpu.choice.workshop import Workshop
from backends.kernels import Candidate, KernelCache, candidates, load, open_cache
from tests.native import emulated
from tests.sharing import locked, shared

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


@pytest.fixture(scope="session", autouse=True)
def opencl_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What pip's OpenCL runtime compiles is compiled once per test run, and not left in a user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POCL_CACHE_DIR", str(shared(tmp_path_factory) / "pocl"))  # read when the runtime is loaded
        yield


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder for the kernels of this process: compiled once per test run, all workers share it."""
    return shared(tmp_path_factory) / "native-state"


@pytest.fixture(scope="session")
def cache(state: Path) -> KernelCache:
    """Holds the quickest candidate from the start."""
    with locked(state.with_suffix(".lock")):
        opened = open_cache(state, native.host_features())
        assert opened.unusable is None
        if not opened.holds(quickest_candidate().name):
            Workshop([quickest_candidate()], opened, cores.model()).prove(quickest_candidate().name)
    return opened


@pytest.fixture(scope="session")
def kernels(state: Path, cache: KernelCache) -> Path:
    """What the miners that tests start find compiled: the quickest candidate alone.

    They remember that it is the fastest, so that no test measures the others.
    """
    own = state.with_name("kernels-state")
    with locked(own.with_suffix(".lock")):
        if not own.exists():
            folder = open_cache(own, native.host_features()).folder
            assert folder and cache.folder
            quickest = quickest_candidate()
            for part in cache.folder.iterdir():
                if part.name in {quickest.name, quickest.name + "+", "midstates", f"fill-{quickest.name}"}:
                    shutil.copytree(part, folder / part.name)
            rates = {x.name: {1: 1.0 + (x == quickest), 16: 1.1 + (x == quickest)} for x in candidates()}
            record = {name: choice.Outcome(rates_hps=by_count) for name, by_count in rates.items()}
            choice.write(folder, cores.model(), record)
    return own / "kernels"


@pytest.fixture(scope="session")
def engine(cache: KernelCache) -> Engine:
    """What virtual chips search with, loaded before any test counts seconds, as are the midstates of the Compac F."""
    engine = Engine(cache)
    assert engine.rate_hps > 0
    native.midstates(bytes(64), (0,), cache.folder_for("midstates"))
    return engine


@pytest.fixture(
    scope="session", params=[x.name for x in candidates() if x.unusable is None or x.name in emulated.KERNELS]
)
def kernel(request: pytest.FixtureRequest, cache: KernelCache) -> native.Kernel:
    """Every search that this machine can run, or could if a function stood for the instruction that it lacks."""
    (candidate,) = [x for x in candidates() if x.name == request.param]
    return load(candidate, cache) if candidate.unusable is None else emulated.load(candidate)


@pytest.fixture(scope="session")
def quick(cache: KernelCache) -> native.Kernel:
    """The kernel that is compiled soonest, for tests that need any: it is fast enough on every machine that runs it."""
    return load(quickest_candidate(), cache)


def quickest_candidate() -> Candidate:
    return min((x for x in candidates() if x.unusable is None), key=lambda x: x.compile_s)
