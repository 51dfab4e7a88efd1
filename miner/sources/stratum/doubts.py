"""What is odd about a pool's jobs: a coinbase that cannot be read, a payout that is missing, a time that is far off.

An odd job is mined all the same, and each oddity is logged once a connection. Only `--require-payout` refuses a job.
"""

from __future__ import annotations

from miner.sources.stratum.effects import Say
from miner.sources.stratum.errors import BadJob
from miner.sources.stratum.job import CLOCK_OFF_S, Made
from miner.sources.stratum.options import StratumOptions


class Doubts:
    """What was found odd on one connection."""

    def __init__(self, options: StratumOptions) -> None:
        self._script = options.payout_script
        self._required = options.require_payout
        self._said: set[str] = set()

    def audit(self, made: Made) -> None:
        """Raise BadJob for a job that does not pay the configured script, where the operator requires that."""
        if self._required and not self._pays(made):
            raise BadJob(_unpaid(made))

    def about(self, made: Made, wall: float) -> list[Say]:
        """Return the warnings that this job gives reason for and that were not said yet; `wall`: seconds since 1970."""
        job, oddity = made.job, made.coinbase.oddity
        found: list[Say] = []
        if oddity:
            found.append(Say("warning", "coinbase_odd", {"job": job.key, "text": oddity}))
        if not self._pays(made):
            found.append(Say("warning", "payout_missing", {"job": job.key, "text": _unpaid(made)}))
        off = job.ntime - wall
        if abs(off) > CLOCK_OFF_S:
            found.append(Say("warning", "job_time_off", {"seconds": round(off)}))
        new = [warning for warning in found if warning.event not in self._said]
        self._said.update(warning.event for warning in new)
        return new

    def _pays(self, made: Made) -> bool:
        return self._script is None or made.coinbase.pays(self._script)


def _unpaid(made: Made) -> str:
    """Why a job does not count as paying the configured address."""
    oddity = made.coinbase.oddity
    return f"its coinbase cannot be read: {oddity}" if oddity else "its coinbase does not pay the configured address"
