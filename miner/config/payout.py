"""Whether an address can be paid by what a pool URL leads to."""

from __future__ import annotations

from collections.abc import Iterable

from miner.chain.address import parse_address, payout_script
from miner.chain.errors import AddressError
from miner.chain.network import Network

from .pool_url import PoolUrl


def networks_of(url: PoolUrl | None, configured: Network | None) -> tuple[Network, ...]:
    """The networks that a source may turn out to follow."""
    if url is not None and url.scheme == "embedded":
        return (Network.REGTEST,)
    return (configured,) if configured else tuple(Network)


def address_problem(text: str, networks: Iterable[Network]) -> str | None:
    """What is wrong with an address, None if it can be paid on one of these networks."""
    wrong: list[str] = []
    for network in networks:
        try:
            parse_address(text, network)
        except AddressError as error:
            wrong.append(str(error))
            continue
        try:
            payout_script(text, network)
        except AddressError as error:  # an address, and no safe one: nothing else about it matters
            return str(error)
        return None
    return wrong[0]


def is_foreign(text: object, url: PoolUrl) -> bool:
    """Whether this is a good address, only not of a network that the source can follow."""
    if not isinstance(text, str) or address_problem(text, networks_of(url, None)) is None:
        return False
    return address_problem(text, Network) is None
