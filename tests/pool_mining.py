"""What tests of the command on judging pools share: terms, the words for a command line, and what to wait for."""

from __future__ import annotations

from collections import Counter

from tests.running import Miner
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_judge import Reason
from tests.virtual.pool_model import Pool
from tests.virtual.pool_terms import Terms

EASY = Terms(difficulty=2**-13, every_s=0.5)  # half a million hashes a share
STEADY = Terms(difficulty=2**-13, every_s=0.5, clean_every=1 << 30)  # nothing ever becomes stale
USER = "account.worker"


def mined(miner: Miner) -> None:
    assert miner.ended() == 0, miner.output()


def on(*pools: VirtualPool) -> list[str]:
    return [word for pool in pools for word in ("--pool", f"stratum+tcp://127.0.0.1:{pool.port}")]


def more(pool: VirtualPool) -> None:
    """Wait until the pool has accepted three shares more."""

    def accepted(model: Pool) -> int:
        return model.books.accounts[USER].accepted if USER in model.books.accounts else 0

    wanted = pool.do(accepted) + 3
    pool.until(lambda model: accepted(model) >= wanted, 60)


def taken_twice(pool: VirtualPool) -> int:
    """How many shares came again on a resumed session; any other refusal is an error."""
    verdicts = pool.verdicts()
    taken = {verdict.header for verdict in verdicts if verdict.accepted}
    refused = Counter(verdict.header for verdict in verdicts if not verdict.accepted)
    assert set(pool.account(USER).rejected) <= {Reason.DUPLICATE}
    assert set(refused) <= taken
    assert set(refused.values()) <= {1}
    return len(refused)
