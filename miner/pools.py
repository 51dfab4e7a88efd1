"""From a configured pool to the source that speaks with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from miner.chain.address import payout_script
from miner.chain.network import Network
from miner.config import Configuration, Pool
from miner.sources.base import Source, SourceMisconfigured
from miner.sources.synthetic import SyntheticSource

Rate = Callable[[], float | None]  # hashes a second, of all devices


def build_source(pool: Pool, configuration: Configuration, *, journal_folder: Path | None, rate: Rate) -> Source:
    """`journal_folder`: where found blocks are kept until they are answered, None for nowhere.

    Raises SourceMisconfigured for what cannot work.
    """
    match pool.url.scheme:
        case "embedded":
            from miner.sources.embedded.source import ANYONE, EmbeddedSource  # noqa: PLC0415  brings the engine along

            return EmbeddedSource(
                rate=rate,
                block_interval_s=configuration.block_interval,
                payout_script=payout_script(pool.address, Network.REGTEST) if pool.address else ANYONE,
            )
        case "synthetic":
            return SyntheticSource(rate=rate)
        case scheme:
            raise SourceMisconfigured(f"{scheme} is not built yet")
