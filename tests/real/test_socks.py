"""The command through other people's proxies: SOCKS5 and HTTP CONNECT, with and without a login."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.real.conftest import fetch
from tests.real.proxies import Microsocks, Proxy, Tinyproxy, programs
from tests.running import Home, home
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_judge import Reason
from tests.virtual.pool_terms import Terms

EASY = Terms(difficulty=2**-13, every_s=0.5)
WORKER = "account.worker"


@pytest.fixture(scope="session")
def proxies() -> Path:
    return fetch(programs)


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


@pytest.fixture
def pool() -> Iterator[VirtualPool]:
    with VirtualPool(EASY) as opened:
        yield opened


def arguments(pool: VirtualPool, proxy: Proxy, login: tuple[str, str] | None = None) -> list[str]:
    user = f"{quote(login[0], safe='')}:{quote(login[1], safe='')}@" if login else ""
    url = f"{proxy.scheme}://{user}127.0.0.1:{proxy.port}"
    return ["--pool", f"stratum+tcp://localhost:{pool.port}", "--user", WORKER, "--proxy", url]


@pytest.mark.parametrize(
    ("kind", "login"),
    [
        (Microsocks, None),
        (Microsocks, ("rig7", "secret")),
        (Microsocks, ("rig 7", "p@ss:word/")),  # what a URL must escape; tinyproxy's own file cannot say it
        (Tinyproxy, None),
        (Tinyproxy, ("rig7", "secret")),
    ],
)
def test_shares_are_mined_through_a_proxy(
    proxies: Path, pool: VirtualPool, operator: Home, kind: type[Proxy], login: tuple[str, str] | None
) -> None:
    with kind(proxies, operator.folder / "proxy", login=login) as proxy:
        miner = operator.start(*arguments(pool, proxy, login), "--shares", "20")
        assert miner.ended() == 0, miner.output() + proxy.words()
    assert pool.account(WORKER).accepted >= 20
    assert set(pool.account(WORKER).rejected) <= {Reason.STALE}  # found just before a new parent: honest
    if kind is Tinyproxy:
        assert f"CONNECT localhost:{pool.port}" in proxy.words()
    if login:
        assert login[1] not in miner.output()


@pytest.mark.parametrize("kind", [Microsocks, Tinyproxy])
def test_a_proxy_that_wants_a_login_and_gets_none_is_said_and_nothing_reaches_the_pool(
    proxies: Path, pool: VirtualPool, operator: Home, tmp_path: Path, kind: type[Proxy]
) -> None:
    with kind(proxies, tmp_path / "proxy", login=("rig7", "secret")) as proxy:
        miner = operator.start(*arguments(pool, proxy))
        miner.until("source_down")
        miner.signal(signal.SIGINT)
        miner.ended()
    assert "the proxy:" in miner.output()
    assert pool.do(lambda model: model.connections) == 0


@pytest.mark.parametrize("kind", [Microsocks, Tinyproxy])
def test_a_proxy_that_is_gone_is_said_and_mining_goes_on_once_it_is_back(
    proxies: Path, pool: VirtualPool, operator: Home, tmp_path: Path, kind: type[Proxy]
) -> None:
    proxy = kind(proxies, tmp_path / "proxy")
    with proxy:
        miner = operator.start(*arguments(pool, proxy))
        miner.until("share_accepted", 5)
    miner.until("the proxy:")
    with proxy:
        miner.until("source_up", 2)
        miner.until("share_accepted", miner.output().count("share_accepted") + 5)
        miner.signal(signal.SIGINT)
        assert miner.ended() == 0, miner.output()
    assert set(pool.account(WORKER).rejected) <= {Reason.STALE}  # found before the line was cut, on an older parent
