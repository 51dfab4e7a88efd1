"""Builds the source of each configured pool, and the strategy that chooses among them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from miner.books.learnt import Learnt
from miner.chain.address import parse_address, payout_script
from miner.chain.errors import AddressError
from miner.chain.header import ROLLABLE
from miner.chain.network import Network
from miner.config import HOST, Configuration, Pool, PoolUrl
from miner.sources.base import Source, SourceMisconfigured
from miner.sources.net.tls import Tls
from miner.work.strategy import Failover, Quota, Rotate, Strategy

Rate = Callable[[], float | None]  # hashes a second, of all devices
Built = tuple[
    Pool, tuple[int, int, int] | None
]  # what a source was built from: where this is the same, so is the source

# Where below its data directory bitcoind keeps a network's files; Bitcoin Core, chainparamsbase.cpp.
_DATA_FOLDERS: Mapping[Network, str] = {
    Network.MAIN: "",
    Network.TESTNET3: "testnet3",
    Network.TESTNET4: "testnet4",
    Network.SIGNET: "signet",
    Network.REGTEST: "regtest",
}


def build_sources(
    configuration: Configuration,
    *,
    journal_folder: Path | None,
    rate: Rate,
    learnt: Learnt | None = None,
    first_device: str | None = None,
    before: Mapping[Built, Source] = MappingProxyType({}),
) -> dict[Built, Source]:
    """Return a source for each pool, in order. A source in `before` is reused.

    A changed quota reuses the source; a CA file rewritten in place does not. `first_device`: id of the device whose
    worker is authorized first, where each device is a worker of its own.

    Raises SourceMisconfigured for a pool that cannot work, and for two pools of one name.
    """
    pools = configuration.pools
    keys = [(pool.model_copy(update={"quota": None}), _stamp(pool.ca_file)) for pool in pools]
    if twice := next((key[0] for key in keys if keys.count(key) > 1), None):
        raise SourceMisconfigured(f"{twice.url} is configured twice: once is enough")
    sources = {
        key: before.get(key)
        or build_source(
            pool,
            configuration,
            journal_folder=journal_folder,
            rate=rate,
            learnt=learnt,
            first_device=first_device,
        )
        for key, pool in zip(keys, pools, strict=True)
    }
    names = [source.name for source in sources.values()]
    if shared := next((name for name in names if names.count(name) > 1), None):
        raise SourceMisconfigured(f"two pools lead to {shared}: give each a name of its own, or leave one out")
    return sources


def build_strategy(configuration: Configuration, sources: Sequence[Source]) -> Strategy:
    """How `sources`, as built from this configuration, share the work."""
    match configuration.strategy:
        case "failover":
            return Failover(configuration.return_after)
        case "quota":
            return Quota(weights(configuration, sources))
        case "rotate":
            return Rotate(configuration.rotate_every)


def weights(configuration: Configuration, sources: Sequence[Source]) -> dict[str, float]:
    """Each source's quota by its name; without any quota all are alike."""
    pools = zip(sources, configuration.pools, strict=True)
    return {source.name: 1.0 if pool.quota is None else pool.quota for source, pool in pools}


def build_source(
    pool: Pool,
    configuration: Configuration,
    *,
    journal_folder: Path | None,
    rate: Rate,
    learnt: Learnt | None = None,
    first_device: str | None = None,
) -> Source:
    """`journal_folder`: where found blocks are kept until they are answered; `learnt`: what pools taught before.

    Raises SourceMisconfigured for what cannot work. Each source's libraries are loaded when it is chosen.
    """
    if pool.url.kind.node:
        return _node(pool, configuration, journal_folder)
    if pool.url.kind.stratum:
        return _stratum(pool, configuration, learnt, first_device)
    match pool.url.scheme:
        case "embedded":
            from miner.sources.embedded.source import ANYONE, EmbeddedSource  # noqa: PLC0415

            return EmbeddedSource(
                rate=rate,
                block_interval_s=configuration.block_interval,
                payout_script=payout_script(pool.address, Network.REGTEST) if pool.address else ANYONE,
            )
        case "synthetic":
            from miner.sources.synthetic import SyntheticSource  # noqa: PLC0415

            return SyntheticSource(rate=rate)
        case scheme:
            raise SourceMisconfigured(f"{scheme}: is not built yet")


def _node(pool: Pool, configuration: Configuration, journal_folder: Path | None) -> Source:
    from miner.sources.node.journal import Journal  # noqa: PLC0415
    from miner.sources.node.rpc import Cookie, Endpoint, Login, Password  # noqa: PLC0415
    from miner.sources.node.source import Node, NodeOptions, NodeSource  # noqa: PLC0415

    assert pool.address is not None  # the configuration saw to that
    network = _network(pool.address, configuration.network)

    def node(url: PoolUrl, login: Login, label: str | None = None) -> Node:
        assert url.host is not None
        tls = _tls(pool).context() if url.kind.tls else None
        return Node(Endpoint(url.host, url.port or network.rpc_port, url.path or "/", tls), login, label)

    login: Login
    if pool.user is not None:
        login = Password(pool.user, pool.password.get_secret_value() if pool.password else "")
    else:
        login = Cookie(pool.cookie_file or Path.home() / ".bitcoin" / _DATA_FOLDERS[network] / ".cookie")
    others = []
    for url in pool.also_submit:
        assert url.user is not None
        assert url.password is not None
        others.append(node(url, Password(url.user, url.password.get_secret_value())))
    options = NodeOptions(
        node=node(pool.url, login, pool.name),
        network=network,
        payout_script=payout_script(pool.address, network),
        also_submit=tuple(others),
    )
    return NodeSource(options, Journal(journal_folder) if journal_folder else None)


def _stratum(pool: Pool, configuration: Configuration, learnt: Learnt | None, first_device: str | None) -> Source:
    from miner.sources.stratum.options import StratumOptions, worker_name  # noqa: PLC0415
    from miner.sources.stratum.rolling import Style  # noqa: PLC0415
    from miner.sources.stratum.source import StratumSource  # noqa: PLC0415

    assert pool.url.host is not None
    assert pool.url.port is not None
    assert pool.user is not None  # the configuration saw to that
    host = worker_name(socket.gethostname().partition(".")[0])
    script = None
    if pool.address is not None:
        script = payout_script(pool.address, configuration.network or _networks(pool.address)[0])
    options = StratumOptions(
        label=pool.name,
        host=pool.url.host,
        port=pool.url.port,
        user=pool.user.replace(HOST, host),
        password=pool.password.get_secret_value().replace(HOST, host) if pool.password else "x",
        first_device=first_device or "miner",
        tls=_tls(pool) if pool.url.kind.tls else None,
        proxy=pool.proxy.get_secret_value() if pool.proxy else None,
        suggest_difficulty=pool.suggest_difficulty,
        minimum_difficulty=pool.minimum_difficulty,
        version_mask=0 if pool.version_bits == "off" else ROLLABLE,
        version_bits={"or": Style.DIFFERENCE, "xor": Style.DIFFERENCE, "replace": Style.REPLACE}.get(pool.version_bits),
        follow_redirects=pool.follow_redirects,
        share_rate=pool.share_rate,
        share_burst=pool.share_burst,
        payout_script=script,
        require_payout=pool.require_payout,
    )
    if learnt is None:
        return StratumSource(options)
    url = options.url  # whatever it is called: what a pool taught one customer's connection, another's need not ask
    return StratumSource(replace(options, learnt_bits=learnt.style(url)), learn=lambda style: learnt.learn(url, style))


def _stamp(file: Path | None) -> tuple[int, int, int] | None:
    """What changes when a file is written anew; None where there is none, which whoever opens it will say better."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino) if found else None


def _tls(pool: Pool) -> Tls:
    return Tls(ca_file=pool.ca_file, insecure=pool.insecure)


def _network(address: str, configured: Network | None) -> Network:
    """The network that an address belongs to; test networks share theirs, so there the operator must say which."""
    able = [configured] if configured else _networks(address)
    if len(able) == 1:
        return able[0]
    names = ", ".join(network.label for network in able)
    raise SourceMisconfigured(f"address {address} is one of several networks ({names}): give --network")


def _networks(address: str) -> list[Network]:
    """Those whose addresses look like this one; a script is the same on all of them."""
    return [network for network in Network if _pays_on(address, network)]


def _pays_on(address: str, network: Network) -> bool:
    try:
        parse_address(address, network)
    except AddressError:
        return False
    return True
