"""Ends a run of `--seconds` in which too little can be mined, so that nobody waits for it for ever."""

from __future__ import annotations

from backends.base import State
from miner.telemetry.snapshot import Snapshot
from miner.work.events import Finish

LEAST_S = 60.0  # a pool that is slow to answer is no standstill, however short the run
GAP_LONGEST_S = 5.0  # the most that one gap between snapshots counts: in a longer one the process was stopped
_ABLE = (State.STARTING, State.MINING, State.IDLE)


class Standstill:
    """Accumulates time with no job or no working device; compiling does not count.

    The limit is `seconds`, the requested mining time, but at least LEAST_S.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stood_s = 0.0
        self._seen_at: float | None = None

    def handle(self, snapshot: Snapshot) -> Finish | None:
        """Take the next snapshot. Return Finish once the limit is reached."""
        since, self._seen_at = self._seen_at, snapshot.now
        obstacle = _obstacle(snapshot)
        if since is None or obstacle is None:
            return None
        self._stood_s += min(snapshot.now - since, GAP_LONGEST_S)
        if self._stood_s < max(self._seconds, LEAST_S):
            return None
        mined = f"mined for {snapshot.mining_s:.0f} of {self._seconds:g} seconds"
        return Finish(ok=False, reason=f"{mined}, stood still for {self._stood_s:.0f}: {obstacle}")


def _obstacle(snapshot: Snapshot) -> str | None:
    if snapshot.held:
        return "all devices are kept off: " + "; ".join(snapshot.held.values())
    if not any(source.active for source in snapshot.sources):
        return "no pool gives work"
    if not any(device.telemetry.state in _ABLE for device in snapshot.devices):
        return "no device works"
    return None
