"""Real counterparts as fixtures: fetched once per machine, ended with the test that started them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.real import debian, npm
from tests.real.cache import UnavailableError
from tests.real.nodes import Bcoin, Bitcoind, Network, Node
from tests.real.pools import ForeignPool

FETCHING_S = 300  # the first test that asks for a counterpart waits for the download
T = TypeVar("T")
_nodes = pytest.StashKey[list[Node | ForeignPool]]()


class StartBitcoind(Protocol):
    def __call__(self, *args: str, network: Network = "regtest", auth: tuple[str, str] | None = None) -> Bitcoind: ...


class StartBcoin(Protocol):
    def __call__(self, *args: str, api_key: str = "secret", memory: bool = True) -> Bcoin: ...


class StartForeignPool(Protocol):
    def __call__(
        self, *, node: Bitcoind | None = None, difficulty: float = 2.0**-20, every_s: float = 55.0
    ) -> ForeignPool: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(FETCHING_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        report.sections.extend((f"log of {node.name}", node.log_tail()) for node in item.stash.get(_nodes, []))
    return report


@pytest.fixture(scope="session")
def bitcoind_command() -> tuple[str, ...]:
    return fetch(debian.bitcoind_command)


@pytest.fixture(scope="session")
def bcoin_folder() -> Path:
    return fetch(npm.bcoin_folder)


@pytest.fixture(scope="session")
def foreign_pool_folder() -> Path:
    return fetch(npm.foreign_pool_folder)


@pytest.fixture
def bitcoind(
    bitcoind_command: tuple[str, ...], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[StartBitcoind]:
    """Start bitcoinds, as many as a test wants, each with chain and cookie of its own."""
    nodes: list[Node | ForeignPool] = request.node.stash.setdefault(_nodes, [])

    def start(*args: str, network: Network = "regtest", auth: tuple[str, str] | None = None) -> Bitcoind:
        folder = tmp_path / f"bitcoind-{len(nodes)}"
        node = Bitcoind(bitcoind_command, folder, args, network=network, auth=auth)
        nodes.append(node)
        return node.start()

    yield start
    _end(nodes)


@pytest.fixture
def bcoin(bcoin_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartBcoin]:
    """Start bcoins, as many as a test wants, each with a chain of its own."""
    nodes: list[Node | ForeignPool] = request.node.stash.setdefault(_nodes, [])

    def start(*args: str, api_key: str = "secret", memory: bool = True) -> Bcoin:
        node = Bcoin(bcoin_folder, tmp_path / f"bcoin-{len(nodes)}", args, api_key=api_key, memory=memory)
        nodes.append(node)
        return node.start()

    yield start
    _end(nodes)


@pytest.fixture
def foreign_pool(
    foreign_pool_folder: Path, bitcoind: StartBitcoind, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[StartForeignPool]:
    """Start foreign pools, each over a node of its own unless one is given."""
    nodes: list[Node | ForeignPool] = request.node.stash.setdefault(_nodes, [])

    def start(*, node: Bitcoind | None = None, difficulty: float = 2.0**-20, every_s: float = 55.0) -> ForeignPool:
        folder = tmp_path / f"foreign-pool-{len(nodes)}"
        pool = ForeignPool(foreign_pool_folder, folder, node or bitcoind(), difficulty=difficulty, every_s=every_s)
        nodes.append(pool)
        return pool.start()

    yield start
    _end(nodes)


def _end(nodes: list[Node | ForeignPool]) -> None:
    for node in nodes:
        node.kill()


def fetch(program: Callable[[], T]) -> T:
    try:
        return program()
    except UnavailableError as error:
        pytest.skip(str(error))  # the machine lacks apt or npm; under CI=true that is a failure, as every skip
