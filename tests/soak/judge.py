"""Which of the shares found had to reach a pool, decided from the tap's and the pools' evidence alone.

A share is due where its pool would have taken it: its job's generation was still good, and its client present with the
right seat, for `patience_s` at a stretch after the share was found and before it was too old to matter.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tests.soak.journal import Judged, Said, WatchedPool, unexplained
from tests.virtual.pool_judge import sha256d, target_of

PATIENCE_S = 3.0  # how long a miner on a busy machine may take over anything
SETTLING_S, SETTLED = 15.0, 30  # while it finds out how version bits are read: until so many shares were judged
GIVEN_UP_S = 110.0  # shares are given up for lost at 120
LIVE_JOBS = 16  # of one pool; what is older may be dead to the miner
FLOOD_S = 150.0  # after a flood of shares, until the last that the cap held back is given up
EASED_S = 1200.0  # until the miner's own bar is down again


class Fate(StrEnum):
    """What was to be expected of a hit."""

    NO_SHARE = "no share"  # it proves the device's health
    DUE = "due"
    STALE = "stale"
    SESSION_OVER = "session over"
    CAPPED = "capped"  # more than may be handed in
    MISNAMED = "misnamed"  # on a job whose name its own pool does not know
    UNKNOWN = "unknown"  # on no job that a pool ever gave: wrong by itself


@dataclass(frozen=True, slots=True)
class Hit:
    """From the tap."""

    at: float
    header: bytes
    extranonce2: str
    target: int  # the share target that the miner took from the pool

    @classmethod
    def read(cls, path: Path) -> list[Hit]:
        lines = path.read_text().splitlines() if path.exists() else []
        told = [json.loads(line) for line in lines if line.endswith("}")]
        return [cls(x["at"], bytes.fromhex(x["header"]), x["extranonce2"], int(x["target"], 16)) for x in told]

    @property
    def hash(self) -> int:
        return int.from_bytes(sha256d(self.header), "little")

    @property
    def version(self) -> int:
        return int.from_bytes(self.header[:4], "little")

    def fields(self, job: str) -> tuple[str, str, str, str]:
        ntime, nonce = (int.from_bytes(self.header[at : at + 4], "little") for at in (68, 76))
        return job, self.extranonce2, f"{ntime:08x}", f"{nonce:08x}"


@dataclass(slots=True)
class Findings:
    """What the evidence comes to."""

    fates: Counter[Fate] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)
    sent: int = 0
    accepted: int = 0
    by_pool: Counter[str] = field(default_factory=Counter)  # accepted


def examine(hits: Iterable[Hit], pools: Sequence[WatchedPool], end: float) -> Findings:
    """Hold the hits against the pools' journals; `end`: when the miner was told to stop."""
    findings = Findings()
    learning: Counter[str] = Counter()
    arrived: dict[str, set[tuple[str, str, str, str]]] = {}
    for pool in pools:
        arrived[pool.name] = {judged.fields for judged in pool.judged}
        for judged in pool.judged:
            _enter(findings, pool, judged, learning)
        rules = pool.violations - Counter({"not_json": pool.hellos})
        findings.wrong += [f"{pool.name}: {rule}, {count} times" for rule, count in rules.items()]
    for hit in hits:
        pool, said = _origin(hit, pools)
        fate = _fate(hit, pool, said, end) if pool and said else _without_pool(hit, pools)
        findings.fates[fate] += 1
        if fate is Fate.UNKNOWN:
            findings.wrong.append(f"found on work that no pool gave: {hit.header.hex()}")
        if fate is Fate.DUE and pool and said and hit.fields(said.job.id) not in arrived[pool.name]:
            findings.lost.append(f"{pool.name}: job {said.job.id}, found at {hit.at:.3f}, {hit.header.hex()}")
    return findings


def _enter(findings: Findings, pool: WatchedPool, judged: Judged, learning: Counter[str]) -> None:
    findings.sent += 1
    reason = judged.verdict.reason
    if reason is None:
        findings.accepted += 1
        findings.by_pool[pool.name] += 1
    else:
        findings.rejected[reason.name.lower()] += 1
    if unexplained(pool, judged, learning, patience_s=PATIENCE_S):
        assert reason is not None
        findings.wrong.append(f"{pool.name}: {reason.text} at {judged.at:.3f}: {' '.join(judged.fields)}")


def _origin(hit: Hit, pools: Sequence[WatchedPool]) -> tuple[WatchedPool | None, Said | None]:
    for pool in pools:
        for said in reversed(pool.jobs.get(hit.header[4:36], [])):
            if _is_of(hit, said):
                return pool, said
    return None, None


def _without_pool(hit: Hit, pools: Sequence[WatchedPool]) -> Fate:
    misnamed = (said for pool in pools for said in pool.misnamed.get(hit.header[4:36], []))
    return Fate.MISNAMED if any(_is_of(hit, said) for said in misnamed) else Fate.UNKNOWN


def _is_of(hit: Hit, said: Said) -> bool:
    fits = len(hit.extranonce2) == 2 * said.job.extranonce2_size and said.at <= hit.at
    return fits and said.job.merkle_root(hit.extranonce2) == hit.header[36:68]


def _fate(hit: Hit, pool: WatchedPool, said: Said, end: float) -> Fate:
    target = target_of(said.job.difficulty)
    if any(0 <= hit.at - flood < EASED_S for flood in pool.floods):
        target = min(target, hit.target)
    if hit.hash > target:
        return Fate.NO_SHARE
    if any(0 <= hit.at - flood < FLOOD_S for flood in pool.floods):
        return Fate.CAPPED
    good_until = [*pool.begun, end][said.job.generation]  # generations count from 1: this is when the next began
    later = sum(1 for each in pool.jobs[hit.header[4:36]] if each.seat == said.seat and said.at < each.at <= hit.at)
    if hit.at >= good_until or later >= LIVE_JOBS:
        return Fate.STALE
    settled = not pool.ambiguous or (len(pool.judged) > SETTLED and pool.judged[SETTLED].at < hit.at)
    patience_s = PATIENCE_S if settled else SETTLING_S
    present = False
    for presence in pool.presences:
        if presence.seat != said.seat or (hit.version ^ said.job.version) & ~presence.mask:
            continue
        since = max(hit.at, presence.since)
        until = min(good_until, end, *([presence.until] if presence.until else []))
        if since + patience_s <= until and since + patience_s <= hit.at + GIVEN_UP_S:
            return Fate.DUE
        present = present or since < until
    return Fate.STALE if present else Fate.SESSION_OVER
