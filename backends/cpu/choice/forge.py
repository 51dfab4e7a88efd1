"""Carries out the plan: first a kernel that starts quickly, then, in the background, the kernel that measures fastest.

    begin() -> the plan's steps, one by one -> each Use: `search` is set, changed() called
                                               none came: `failure`
    rest()  -> the present step is given up; the next begin() repeats it

The forge has a thread of its own, which lowers its priority once a kernel hashes. Its kernels outlive stop() and
start() of the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from backends.cpu.choice.choice import Choice, Record, reasons
from backends.cpu.choice.plan import Plan, Prove, Race, Use
from backends.cpu.choice.workshop import Interrupted, Refused
from backends.cpu.search import Search
from native import KernelError


class Maker(Protocol):
    """The part of `workshop.Workshop` that the forge uses. All but `plan` and `remember` may take seconds and raise.

    `interrupt`, from any thread: the running call raises Interrupted soon, and so does each call until `resume`.
    """

    def plan(self) -> Plan: ...
    def prove(self, name: str) -> None: ...
    def race(self, names: Sequence[str]) -> Record: ...
    def load(self, choice: Choice) -> Search: ...
    def remember(self, record: Record) -> None: ...
    def interrupt(self) -> None: ...
    def resume(self) -> None: ...


def forged(maker: Maker) -> Search:
    """Carry out the whole plan in this thread and return its search. Raises KernelError if no kernel works."""
    forge = Forge(maker)
    forge.work()
    if forge.search is None:
        raise KernelError(forge.failure)
    return forge.search


class Forge:
    """Carries out the plan in the background. settle: called in its thread once a kernel hashes."""

    def __init__(
        self,
        maker: Maker,
        *,
        settle: Callable[[], None] = lambda: None,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self.search: Search | None = None  # the search to use; hash threads read it before every chunk
        self.doing: str | None = None
        self.failure: str | None = None  # no candidate is left
        self.refused: dict[str, str] = {}  # candidate's name: why
        self.changed: Callable[[], None] = lambda: None  # called in the forge's thread
        self._maker = maker
        self._settle = settle
        self._log = log
        self._turn = threading.Lock()  # guards the three below
        self._thread: threading.Thread | None = None
        self._wanted = False  # to be at work
        self._resting = False
        self._plan: Plan | None = None  # the one begun; None before, and after a failure

    def begin(self) -> None:
        """Start the thread unless it runs or the plan is done. After a failure the plan begins again."""
        with self._turn:
            self._wanted, self._resting = True, False
            if self._plan is None:
                self.failure = None
            self._maker.resume()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="cpu-kernels", daemon=True)
                self._thread.start()

    def rest(self) -> None:
        """Stop until the next `begin`; returns at once. Only a compilation inside this process goes on."""
        with self._turn:
            self._wanted, self._resting = False, True
            self._maker.interrupt()

    def work(self) -> None:
        """Carry out the whole plan, in the caller's thread."""
        if self._plan is None:
            self.failure, self.refused, self._plan = None, {}, self._maker.plan()
        while self._next_step(self._plan):
            pass

    def _work(self) -> None:
        """The thread's body: work until nothing more is wanted."""
        while True:
            with self._turn:
                if not self._wanted:
                    self._thread = None
                    return
                self._wanted = False
            self.work()

    def _next_step(self, plan: Plan) -> bool:
        """Do the next step. Return whether there may be another."""
        if self._resting:
            return False
        if step := plan.next():
            known = plan.record
            self._do(plan, step)
            if plan.record is not known:
                self._maker.remember(plan.record)
            self.refused = dict(plan.refused)
            return True
        if not plan.in_use:
            told = reasons(plan.candidates, plan.record) | self.refused
            self.failure = "no kernel works here: " + "; ".join(f"{name}: {why}" for name, why in told.items())
            self._plan = None
            self._log("kernels_exhausted", reason=self.failure)
            self.changed()
        return False

    def _do(self, plan: Plan, step: Prove | Race | Use) -> None:
        match step:
            case Prove(name):
                if self._managed(plan, (name,), f"compiling {name}", lambda: self._maker.prove(name)):
                    plan.proved(name)
            case Race():
                self._race(plan, step)
            case Use(choice):
                if self._managed(plan, choice.names, f"loading {', '.join(choice.names)}", lambda: self._use(choice)):
                    plan.uses(choice)

    def _use(self, choice: Choice) -> None:
        self.search = self._maker.load(choice)
        self._log("kernel_ready", kernel=choice.single, several=choice.several, versions_together=choice.midstates)
        self.changed()
        self._settle()

    def _race(self, plan: Plan, race: Race) -> None:
        self.doing = f"measuring {', '.join(race.names)}"
        try:
            plan.raced(self._maker.race(race.names))
        except Interrupted:
            return
        except Exception as e:  # noqa: BLE001 # the kernel in use goes on, whatever the race raised
            why = str(e) or type(e).__name__
            plan.spoiled(race, why, for_good=isinstance(e, Refused) and e.for_good)
            self._log("kernels_not_measured", kernels=list(race.names), reason=why)
        finally:
            self.doing = None

    def _managed(self, plan: Plan, names: Sequence[str], doing: str, task: Callable[[], None]) -> bool:
        """Run `task` and return whether it succeeded. If not, refuse these candidates: the next ones may work."""
        self.doing = doing
        try:
            task()
        except Interrupted:
            return False
        except Exception as e:  # noqa: BLE001
            why = str(e) or type(e).__name__
            for name in names:
                plan.refuse(name, why, for_good=isinstance(e, Refused) and e.for_good)
                self._log("kernel_refused", kernel=name, reason=why)
            return False
        finally:
            self.doing = None
        return True
