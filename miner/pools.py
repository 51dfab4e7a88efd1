"""From a configured pool to the source that speaks with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from miner.chain.address import parse_address, payout_script
from miner.chain.errors import AddressError
from miner.chain.network import Network
from miner.config import Configuration, Pool, PoolUrl
from miner.sources.base import Source, SourceMisconfigured
from miner.sources.tls import Tls

Rate = Callable[[], float | None]  # hashes a second, of all devices

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
    before: Mapping[Pool, Source] = MappingProxyType({}),
) -> dict[Pool, Source]:
    """A source for each pool, in order; one that stands in `before` is taken from there.

    Raises SourceMisconfigured for what cannot work, two pools that would go by one name included.
    """
    pools = configuration.pools
    if twice := next((pool for pool in pools if pools.count(pool) > 1), None):
        raise SourceMisconfigured(f"{twice.url} is configured twice: once is enough")
    sources = {
        pool: before.get(pool) or build_source(pool, configuration, journal_folder=journal_folder, rate=rate)
        for pool in pools
    }
    names = [source.name for source in sources.values()]
    if shared := next((name for name in names if names.count(name) > 1), None):
        raise SourceMisconfigured(f"two pools lead to {shared}: one of them is enough")
    return sources


def build_source(pool: Pool, configuration: Configuration, *, journal_folder: Path | None, rate: Rate) -> Source:
    """`journal_folder`: where found blocks are kept until they are answered, None for nowhere.

    Raises SourceMisconfigured for what cannot work. Each source's libraries are loaded when it is chosen.
    """
    if pool.url.kind.node:
        return _node(pool, configuration, journal_folder)
    if pool.url.kind.stratum:
        return _stratum(pool, configuration)
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

    def node(url: PoolUrl, login: Login) -> Node:
        assert url.host is not None
        tls = _tls(pool).context() if url.kind.tls else None
        return Node(Endpoint(url.host, url.port or network.rpc_port, url.path or "/", tls), login)

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
        node=node(pool.url, login),
        network=network,
        payout_script=payout_script(pool.address, network),
        also_submit=tuple(others),
    )
    return NodeSource(options, Journal(journal_folder) if journal_folder else None)


def _stratum(pool: Pool, configuration: Configuration) -> Source:
    from miner.sources.stratum.options import StratumOptions  # noqa: PLC0415
    from miner.sources.stratum.source import StratumSource  # noqa: PLC0415

    assert pool.url.host is not None
    assert pool.url.port is not None
    assert pool.user is not None  # the configuration saw to that
    script = None
    if pool.address is not None:
        script = payout_script(pool.address, configuration.network or _networks(pool.address)[0])
    options = StratumOptions(
        host=pool.url.host,
        port=pool.url.port,
        user=pool.user,
        password=pool.password.get_secret_value() if pool.password else "x",
        tls=_tls(pool) if pool.url.kind.tls else None,
        proxy=pool.proxy.get_secret_value() if pool.proxy else None,
        suggest_difficulty=pool.suggest_difficulty,
        payout_script=script,
        require_payout=pool.require_payout,
    )
    return StratumSource(options)


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
