"""The processor as one device: its hash threads, what they are told, and what becomes of one that fails.

OFF --start--> STARTING --first kernel--> MINING <-> IDLE, PAUSED       any --stop--> OFF
any --a thread raises--> all threads end: DEAD, until stop
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from backends.base import DeviceInfo, Feed, State, Telemetry
from backends.cpu.choice.forge import Forge
from backends.threaded import Controls, Run, ThreadedDevice

from .hasher import Hasher
from .priority import Priority, give_way

_SHOWN = (State.MINING, State.STARTING, State.PAUSED, State.IDLE)  # of several threads, the first that any is in


@dataclass(slots=True)
class _Run(Run):
    hashers: list[Hasher] = field(default_factory=list)

    def stage(self, epoch: int) -> None:
        for hasher in self.hashers:
            hasher.stage(epoch)


class CpuDevice(ThreadedDevice[_Run, Controls]):
    """Implements `backends.base.Device`. placement: the core to bind each thread to, None: to none."""

    def __init__(
        self,
        info: DeviceInfo,
        forge: Forge,
        placement: Sequence[int | None],
        *,
        priority: Priority = Priority.LOW,
        duty: float = 1.0,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        super().__init__(info, Controls(duty=duty), log)
        self._forge = forge
        self._placement = placement
        self._priority = priority
        forge.changed = self._interrupt

    @property
    def info(self) -> DeviceInfo:
        refused = tuple((f"kernel {name} refused", why) for name, why in self._forge.refused.items())
        return replace(self._info, details=self._info.details + refused)

    def _prepare(self, feed: Feed) -> _Run:
        run = _Run(feed)
        for number, core in enumerate(self._placement):
            hasher = Hasher(feed, self._controls, self._forge, lambda: run.stopping)
            run.hashers.append(hasher)
            run.threads.append(self._thread(run, partial(self._hash, hasher, core), f"{self._info.id}/{number}"))
        return run

    def _begin(self, run: _Run) -> None:
        run.feed.before_replacing(run.stage)
        self._forge.begin()

    def _end(self, run: _Run) -> None:
        run.feed.before_replacing(None)
        self._forge.rest()

    def telemetry(self) -> Telemetry:
        run, forge, duty = self._run, self._forge, self._controls.duty
        refused = "; ".join(f"kernel {name} is not used: {why}" for name, why in forge.refused.items())
        search, busy_with = forge.search, forge.doing
        doing = [search.name] if search else []
        doing += [busy_with] if busy_with else []
        return Telemetry(
            state=_state(run),
            fault=(run and run.fault) or refused or None,
            activity=", ".join(doing) or None,
            duty=duty,
            expected_hps=_expected(run, duty),
        )

    def _hash(self, hasher: Hasher, core: int | None) -> None:
        """The body of a hash thread."""
        self._settle(core)
        hasher.run()

    def _settle(self, core: int | None) -> None:
        try:
            give_way(self._priority)
            if core is not None:
                os.sched_setaffinity(0, {core})
        except OSError as e:  # a container's policy: hashing where and how the system likes is still hashing
            self._log("hash_thread_not_placed", device=self._info.id, core=core, reason=str(e))


def _state(run: _Run | None) -> State:
    if not run:
        return State.OFF
    if run.fault:
        return State.DEAD
    states = {hasher.state for hasher in run.hashers}
    return next(state for state in _SHOWN if state in states)


def _expected(run: _Run | None, duty: float) -> float | None:
    """What the threads together do at their best; None until each has been measured."""
    rates = [hasher.best_hps for hasher in run.hashers] if run else []
    known = [rate for rate in rates if rate is not None]
    return sum(known) * duty if known and len(known) == len(rates) else None
