"""Alarms: what is wrong and stays wrong, said once when it begins and once when it is over.

    IDLE --seen--> PENDING --still seen after `after_s`--> ACTIVE --unseen for `clear_s`--> RESOLVED --LINGER_S--> IDLE
    PENDING --unseen--> IDLE                               RESOLVED --seen--> PENDING

One such machine per rule and subject (a device, a pool, the miner). A moment's trouble never leaves PENDING, and what
comes and goes stays ACTIVE: nobody is called twice for one fault. No clock but the snapshots' own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .alarm import Alarm, Severity, Stage
from .snapshot import Snapshot

__all__ = ["Alarm", "Alarms", "Findings", "Rule", "Severity", "Stage"]

LINGER_S = 600.0  # how long what is over can still be seen
SUBJECTS_MAX = 1_000  # per rule: what a broken driver names beyond that is not followed

Findings = Mapping[str, str]  # subject -> what is wrong with it, in a sentence


@dataclass(frozen=True, slots=True)
class Rule:
    """What to look for. `look` may remember: it sees every snapshot once, in order."""

    name: str  # "device-sick": bounded, a label
    severity: Severity
    look: Callable[[Snapshot], Findings]
    after_s: float = 0.0
    clear_s: float = 0.0


@dataclass(slots=True)
class _Watched:
    alarm: Alarm
    seen: float


@dataclass(slots=True)
class Alarms:
    """Every rule's machines, fed with snapshots."""

    rules: Sequence[Rule]
    _watched: dict[tuple[str, str], _Watched] = field(default_factory=dict)

    def handle(self, snapshot: Snapshot) -> list[Alarm]:
        """The alarms that became ACTIVE or RESOLVED by this snapshot."""
        changes: list[Alarm | None] = []
        for rule in self.rules:
            findings = rule.look(snapshot)
            subjects = {subject for name, subject in self._watched if name == rule.name}
            fresh = [subject for subject in findings if subject not in subjects]
            followed = (*subjects, *fresh[: SUBJECTS_MAX - len(subjects)])
            changes += [self._step(rule, subject, findings.get(subject), snapshot.now) for subject in followed]
        return [change for change in changes if change is not None]

    def standing(self) -> tuple[Alarm, ...]:
        """Everything that is not IDLE, the gravest and oldest first."""
        grave = list(reversed(Severity))
        alarms = [watched.alarm for watched in self._watched.values()]
        return tuple(sorted(alarms, key=lambda x: (x.stage is not Stage.ACTIVE, grave.index(x.severity), x.since)))

    def _step(self, rule: Rule, subject: str, detail: str | None, now: float) -> Alarm | None:
        """Move one machine on; the alarm, if people should hear of it."""
        key = rule.name, subject
        watched = self._watched.get(key)
        if watched is None:
            blank = Alarm(rule.name, rule.severity, subject, Stage.IDLE, now, "")
            watched = self._watched[key] = _Watched(blank, now)
        before = watched.alarm.stage
        if detail is not None:
            watched.seen = now
            watched.alarm = replace(watched.alarm, detail=detail)
        for stage in self._moves(rule, watched, now, seen=detail is not None):
            watched.alarm = replace(watched.alarm, stage=stage, since=now)
        if watched.alarm.stage is Stage.IDLE:
            del self._watched[key]
        changed = watched.alarm.stage is not before
        return watched.alarm if changed and watched.alarm.stage in {Stage.ACTIVE, Stage.RESOLVED} else None

    @staticmethod
    def _moves(rule: Rule, watched: _Watched, now: float, *, seen: bool) -> Iterator[Stage]:
        """The stages that follow, one after the other: what needs no waiting happens at once."""
        if seen and watched.alarm.stage in {Stage.IDLE, Stage.RESOLVED}:
            yield Stage.PENDING
        elif not seen and watched.alarm.stage is Stage.PENDING:
            yield Stage.IDLE
        if seen and watched.alarm.stage is Stage.PENDING and now - watched.alarm.since >= rule.after_s:
            yield Stage.ACTIVE
        elif not seen and watched.alarm.stage is Stage.ACTIVE and now - watched.seen >= rule.clear_s:
            yield Stage.RESOLVED
        elif not seen and watched.alarm.stage is Stage.RESOLVED and now - watched.alarm.since >= LINGER_S:
            yield Stage.IDLE
