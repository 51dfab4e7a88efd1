"""The end of a run of `--seconds` of mining in which too little can be mined: nobody must wait for it for ever."""

from __future__ import annotations

from backends.base import State
from miner.telemetry.snapshot import Snapshot
from miner.work.events import Finish

LEAST_S = 60.0  # a pool that is slow to answer is no standstill, however short the run
GAP_LONGEST_S = 5.0  # between two snapshots; in a longer gap the process was stopped, and nobody waited for it
_ABLE = (State.STARTING, State.MINING, State.IDLE)


class Standstill:
    """Counts the time without work, and that without a device to do it; compiling is neither.

    There may be as much of it as `seconds`, those to be mined, but at least LEAST_S.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stood_s = 0.0
        self._seen_at: float | None = None

    def handle(self, snapshot: Snapshot) -> Finish | None:
        """The end, once it stood still for too long; shown every snapshot."""
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
