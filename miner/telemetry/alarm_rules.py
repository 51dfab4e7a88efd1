"""What is worth an alarm, as data over snapshots. Thresholds come from `[alarms]`; None switches one off.

| alarm | subject | is seen while |
|---|---|---|
| device-sick | device | it is sick, or was turned off for safety and rests |
| device-dead | device | it was given up |
| device-hot | device | a temperature is over `hot_c` |
| rate-low | device | its minute's rate is under `rate_ratio` of what is expected of it |
| hits-missing | device | in a quarter of an hour its hashes gave less than half of the hits due, beyond coincidence |
| rejects-high | pool | more than `reject_ratio` of the last shares were refused, stale ones included, or not answered |
| pool-down | pool | it is not connected, or sends no work, or has failed |
| pool-behind | pool | its jobs extend a block that another pool has moved on from |
| pool-no-credit | pool | it answers no share, or refuses every one |
| no-share | miner | it mines, and nothing was accepted for `silence` times the usual wait between shares |
| power-over-budget | miner | it draws more than `budget_w`, at the wall where a meter tells |
| meter-disagrees | miner | its devices together draw more than the wall gives, or the wall gives what nobody draws |
| block-found | miner | a block was accepted since the last look, on a chain whose coins have a worth |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from backends.base import State, Verdict
from miner.work.rate import chance

from .alarms import Findings, Rule, Severity
from .snapshot import Basis, DeviceView, Snapshot, SourceView

MINER = "miner"
_MINUTE_S = 60
_HASHES_PER_DIFFICULTY = 1 << 32
_FEWEST_ANSWERS = 20  # a ratio of fewer says nothing
_LEAST_SILENCE_S = 300.0
_SPAN_S = 900.0  # over which answers and hits are looked at
_FOUND_RATIO = 0.5  # part of the hits that are due under which a device computes something else than hashes
_DOUBT = 1e-9  # how likely a coincidence may be that is called a fault


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When something is wrong."""

    hot_c: float | None = 90.0
    rate_ratio: float | None = 0.8
    reject_ratio: float | None = 0.05
    silence: float | None = 10.0
    budget_w: float | None = None
    meter_ratio: float | None = 0.1
    overhead_w: float | None = None  # what the machine draws beside its devices; None: not known


# By name, as they are switched off.
RULES = (
    "device-sick",
    "device-dead",
    "device-hot",
    "rate-low",
    "hits-missing",
    "rejects-high",
    "pool-down",
    "pool-behind",
    "pool-no-credit",
    "no-share",
    "power-over-budget",
    "meter-disagrees",
    "block-found",
)


def rules(thresholds: Thresholds, off: Collection[str] = ()) -> tuple[Rule, ...]:
    """Every rule that is switched on."""
    offered = (
        Rule("device-sick", Severity.WARNING, _sick, after_s=30, clear_s=60),
        Rule("device-dead", Severity.CRITICAL, _dead, after_s=5),
        _if_set(thresholds.hot_c, lambda x: Rule("device-hot", Severity.CRITICAL, _hot(x), after_s=10, clear_s=60)),
        _if_set(
            thresholds.rate_ratio, lambda x: Rule("rate-low", Severity.WARNING, _slow(x), after_s=300, clear_s=120)
        ),
        Rule("hits-missing", Severity.WARNING, MissingHits().look, after_s=60, clear_s=60),
        _if_set(
            thresholds.reject_ratio,
            lambda x: Rule("rejects-high", Severity.WARNING, RejectRatio(x).look, after_s=60, clear_s=60),
        ),
        Rule("pool-down", Severity.WARNING, _down, after_s=60, clear_s=30),
        Rule("pool-behind", Severity.WARNING, _behind, clear_s=30),
        Rule("pool-no-credit", Severity.WARNING, _without_credit, clear_s=30),
        _if_set(thresholds.silence, lambda x: Rule("no-share", Severity.CRITICAL, Silence(x).look)),
        _if_set(
            thresholds.budget_w, lambda x: Rule("power-over-budget", Severity.WARNING, _over(x), after_s=30, clear_s=60)
        ),
        _if_set(
            thresholds.meter_ratio,
            lambda x: Rule(
                "meter-disagrees", Severity.WARNING, _disagreeing(x, thresholds.overhead_w), after_s=180, clear_s=120
            ),
        ),
        Rule("block-found", Severity.INFO, BlockFound().look, clear_s=3600),
    )
    return tuple(rule for rule in offered if rule is not None and rule.name not in off)


def _if_set(threshold: float | None, make: Callable[[float], Rule]) -> Rule | None:
    return None if threshold is None else make(threshold)


def _sick(snapshot: Snapshot) -> Findings:
    """A device that was told to pause has no fault; one that rests after a cut-off has."""
    resting = {
        device.info.id: device.telemetry.fault
        for device in snapshot.devices
        if device.telemetry.state is State.PAUSED and device.telemetry.fault is not None
    }
    return {**_in_state(State.SICK, snapshot), **resting}


def _dead(snapshot: Snapshot) -> Findings:
    return _in_state(State.DEAD, snapshot)


def _in_state(state: State, snapshot: Snapshot) -> Findings:
    return {
        device.info.id: device.telemetry.fault or f"it is {state}"
        for device in snapshot.devices
        if device.telemetry.state is state
    }


def _hot(limit_c: float) -> Callable[[Snapshot], Findings]:
    def look(snapshot: Snapshot) -> Findings:
        found = {}
        for device in snapshot.devices:
            hottest = max(device.telemetry.temperatures_c, key=lambda reading: reading.value, default=None)
            if hottest is not None and hottest.value > limit_c:
                found[device.info.id] = f"{hottest.sensor} is at {hottest.value:.0f} degrees, over {limit_c:.0f}"
        return found

    return look


def _slow(ratio: float) -> Callable[[Snapshot], Findings]:
    def look(snapshot: Snapshot) -> Findings:
        return {device.info.id: text for device in snapshot.devices if (text := slow(device))}

    def slow(device: DeviceView) -> str | None:
        rate, wanted = device.rate_hps.get(_MINUTE_S), device.telemetry.expected_hps or device.info.expected_hps
        if device.telemetry.state is not State.MINING or rate is None or not wanted or rate >= ratio * wanted:
            return None
        return f"it does {rate / wanted:.0%} of what is expected of it"

    return look


def _down(snapshot: Snapshot) -> Findings:
    return {source.name: text for source in snapshot.sources if source.present and (text := _trouble_of(source))}


def _trouble_of(source: SourceView) -> str | None:
    if source.failed is not None or not source.connected:
        return source.failed or "it is not connected"
    return "it is connected and has sent no work" if source.job_age_s is None else None


def _behind(snapshot: Snapshot) -> Findings:
    text = "its jobs extend a block that another pool has moved on from: its node hangs, or it follows another chain"
    return {source.name: text for source in snapshot.sources if source.behind}


def _without_credit(snapshot: Snapshot) -> Findings:
    return {source.name: source.distrusted for source in snapshot.sources if source.distrusted is not None}


def _over(budget_w: float) -> Callable[[Snapshot], Findings]:
    def look(snapshot: Snapshot) -> Findings:
        drawn = next((one for one in snapshot.consumption if one.watts is not None), None)  # the wall stands first
        if drawn is None or drawn.watts is None or drawn.watts <= budget_w:
            return {}
        return {MINER: f"{drawn.watts:.0f} W are drawn of {budget_w:.0f} W ({drawn.basis})"}

    return look


def _disagreeing(ratio: float, overhead_w: float | None) -> Callable[[Snapshot], Findings]:
    """Devices behind a wall meter draw no more than it gives; and no less, once the rest of the machine is known."""

    def look(snapshot: Snapshot) -> Findings:
        watts = {one.basis: one.watts for one in snapshot.consumption}
        wall, devices = watts.get(Basis.WALL), watts.get(Basis.DEVICES, watts.get(Basis.MODEL))
        if wall is None or devices is None:
            return {}
        if devices > wall * (1 + ratio):
            mark = " (model)" if Basis.MODEL in watts else ""
            return {MINER: f"the devices are said to draw {devices:.0f} W{mark}, and the wall gives {wall:.0f} W"}
        if overhead_w is not None and wall > (devices + overhead_w) * (1 + ratio) and _all_known(snapshot):
            mark = " (model)" if Basis.MODEL in watts else ""
            return {MINER: f"the wall gives {wall:.0f} W, and {devices + overhead_w:.0f} W{mark} are accounted for"}
        return {}

    return look


def _all_known(snapshot: Snapshot) -> bool:
    return all(
        device.telemetry.power_w is not None
        for device in snapshot.devices
        if not device.info.virtual and device.telemetry.state not in (State.OFF, State.DEAD)
    )


@dataclass(slots=True)
class _Lately:
    """What two counts of each subject have grown by in the last `_SPAN_S` seconds, within a sixtieth."""

    _past: deque[tuple[float, Mapping[str, tuple[float, float]]]] = field(default_factory=deque)

    def added(self, counts: Mapping[str, tuple[float, float]], now: float) -> dict[str, tuple[float, float]]:
        past = self._past
        if not past or now - past[-1][0] >= _SPAN_S / 60:
            past.append((now, counts))
        while len(past) > 1 and now - past[1][0] >= _SPAN_S:
            past.popleft()
        before = past[0][1]
        return {
            name: (one - before.get(name, (0, 0))[0], other - before.get(name, (0, 0))[1])
            for name, (one, other) in counts.items()
        }


@dataclass(slots=True)
class RejectRatio:
    """Refusals among the last answers, per pool."""

    limit: float
    _lately: _Lately = field(default_factory=_Lately)

    def look(self, snapshot: Snapshot) -> Findings:
        lately = self._lately.added({source.name: _answers(source) for source in snapshot.sources}, snapshot.now)
        return {
            name: f"it accepted {good} of the last {good + bad} shares"
            for name, (good, bad) in lately.items()
            if good + bad >= _FEWEST_ANSWERS and bad > self.limit * (good + bad)
        }


def _answers(source: SourceView) -> tuple[int, int]:
    """Accepted and refused so far."""
    return source.accepted, source.stale + sum(source.rejected.values())


@dataclass(slots=True)
class MissingHits:
    """Hashes that give no hits, per device: whoever computes wrong finds nothing, and nothing that is wrong either."""

    _lately: _Lately = field(default_factory=_Lately)

    def look(self, snapshot: Snapshot) -> Findings:
        lately = self._lately.added({device.info.id: _hits(device) for device in snapshot.devices}, snapshot.now)
        return {
            name: f"its hashes gave {found:.0f} hits, and {due:.0f} were to be expected"
            for name, (found, due) in lately.items()
            if found < _FOUND_RATIO * due and chance(found, _FOUND_RATIO * due) < _DOUBT
        }


def _hits(device: DeviceView) -> tuple[int, float]:
    """Found so far, those that came too late included, and due."""
    return device.hits + device.faults.get(Verdict.STALE.value, 0), device.hits_due


@dataclass(slots=True)
class Silence:
    """Nothing accepted for much longer than luck explains; time without hashing or without a pool does not count."""

    factor: float
    _accepted: int = 0
    _looked_at: float | None = None
    _silent_s: float = 0.0
    _due: float = 0.0  # shares in that time, on average

    def look(self, snapshot: Snapshot) -> Findings:
        accepted = sum(source.accepted + source.blocks_accepted for source in snapshot.sources)
        passed_s = 0.0 if self._looked_at is None else snapshot.now - self._looked_at
        self._looked_at = snapshot.now
        usual_s = _usual_wait_s(snapshot)
        if accepted != self._accepted:
            self._accepted, self._silent_s, self._due = accepted, 0.0, 0.0
        elif usual_s is not None:
            self._silent_s, self._due = self._silent_s + passed_s, self._due + passed_s / usual_s
        if self._due <= self.factor or self._silent_s <= _LEAST_SILENCE_S:
            return {}
        usual_s = self._silent_s / self._due
        return {MINER: f"no share was accepted for {self._silent_s:.0f} s, where one in {usual_s:.0f} s is usual"}


def _usual_wait_s(snapshot: Snapshot) -> float | None:
    """Between two shares at the present rate and the difficulty of what is mined on; None where that is unknown."""
    rate = snapshot.rate_hps.get(_MINUTE_S)
    difficulty = next((x.difficulty for x in snapshot.sources if x.active), None)
    return difficulty * _HASHES_PER_DIFFICULTY / rate if rate and difficulty else None


@dataclass(slots=True)
class BlockFound:
    """A block more than at the last look: not a fault, but nobody wants to miss it."""

    _blocks: int = 0

    def look(self, snapshot: Snapshot) -> Findings:
        blocks = sum(source.blocks_accepted for source in snapshot.sources)
        before, self._blocks = self._blocks, blocks
        if blocks <= before or snapshot.worthless:
            return {}
        return {MINER: f"block number {blocks} of this run was accepted"}
