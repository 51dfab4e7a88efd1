"""Compiles, examines and measures kernels, each task in a process of its own.

A compiler takes memory that the interpreter never returns. It aborts its process on an instruction that it cannot emit,
and an unknown instruction kills the process that runs it. Neither may happen to the miner. A task leaves its kernel in
the cache, from which the miner loads it in a moment. Without a cache, or if no process can be started, tasks run in the
miner itself.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence

import native
from backends import child
from backends.cpu.choice import choice as memory
from backends.cpu.choice.choice import Choice, Outcome, Record
from backends.cpu.choice.plan import Plan
from backends.cpu.choice.race import race
from backends.cpu.choice.trial import TASKS, Answer
from backends.cpu.search import NativeSearch, Search
from backends.kernels.cache import KernelCache
from backends.kernels.candidates import Candidate, load
from backends.kernels.proof import ProofError

_PATIENCE_S = 120.0  # a single-board computer compiles the longest kernel in a tenth of this
_MOST_HERE = 2  # kernels to prove without a cache: each start compiles them again
_FAULTS = {signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGTRAP, signal.SIGABRT}


class Refused(Exception):
    """A kernel cannot be used. for_good: another try would give the same."""

    def __init__(self, why: str, *, for_good: bool) -> None:
        super().__init__(why)
        self.for_good = for_good


class Interrupted(Exception):
    """The task was interrupted; nothing is wrong with the kernel."""


class Workshop:
    """processor: the model name under which results are remembered."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        cache: KernelCache,
        processor: str,
        *,
        log: Callable[..., None] = lambda *_a, **_k: None,
        command: Sequence[str] = (sys.executable, "-m", "backends.cpu.choice.trial"),
    ) -> None:
        self._candidates = {x.name: x for x in candidates}
        self._cache = cache
        self._processor = processor
        self._log = log
        self._command = command
        self._loaded: dict[str, native.Kernel] = {}
        self._turn = threading.Lock()  # guards the three below
        self._at_work: child.Process | None = None  # or was
        self._killed: child.Process | None = None  # by `interrupt`
        self._interrupted = False

    def plan(self) -> Plan:
        """The plan that follows from the content of the cache."""
        return Plan(
            candidates=list(self._candidates.values()),
            record=memory.read(self._cache.folder, self._processor, self._forgot),
            proven={name for name in self._candidates if name in self._loaded or self._cache.holds(name)},
            most=_MOST_HERE if self._cache.folder is None else None,
        )

    def prove(self, name: str) -> None:
        """Compile and examine a candidate. Raises Refused."""
        if self._cache.folder is not None:
            try:
                answer = self._elsewhere("prove", [name])
            except OSError as error:
                self._log("kernel_compiled_in_process", kernel=name, reason=str(error))
            else:
                if answer.refused is not None:
                    self._cache.forget(name)
                    raise Refused(answer.refused, for_good=answer.for_good)
                return
        self._load(name)

    def race(self, names: Sequence[str]) -> Record:
        """Measure proven kernels against each other and return their rates. Raises Refused for the newest kernel."""
        if self._cache.folder is not None and not set(names) <= self._loaded.keys():
            try:
                answer = self._elsewhere("race", names)
            except OSError as error:
                raise Refused(f"no process to measure in: {error}", for_good=False) from error
            if answer.refused is not None:
                raise Refused(answer.refused, for_good=answer.for_good)
            rates = answer.rates_hps
        else:
            rates = {k: dict(v) for k, v in race({name: NativeSearch(self._load(name)) for name in names}).items()}
        return {name: Outcome(rates_hps=by_count) for name, by_count in rates.items()}

    def load(self, choice: Choice) -> Search:
        """Load the chosen kernels into this process. Raises Refused."""
        return NativeSearch(self._load(choice.single), self._load(choice.several), choice.midstates)

    def remember(self, record: Record) -> None:
        try:
            memory.write(self._cache.folder, self._processor, record)
        except OSError as error:
            self._log("kernel_choice_not_kept", reason=str(error))

    def _forgot(self, reason: str) -> None:
        self._log("kernel_choice_not_read", reason=reason)

    def interrupt(self) -> None:
        """Kill the process at work. Until `resume` every task raises Interrupted."""
        with self._turn:
            self._interrupted = True
            if self._at_work is not None and self._at_work.poll() is None:
                self._killed = self._at_work
                self._at_work.kill()

    def resume(self) -> None:
        with self._turn:
            self._interrupted = False

    def _load(self, name: str) -> native.Kernel:
        if name not in self._loaded:
            try:
                self._loaded[name] = load(self._candidates[name], self._cache)
            except native.NativeError as error:
                raise Refused(str(error), for_good=isinstance(error, ProofError)) from error
        return self._loaded[name]

    def _elsewhere(self, task: TASKS, names: Sequence[str]) -> Answer:
        """Do a task in a process of its own. Raises Interrupted; OSError when the process cannot be started."""
        process = self._start(task, names)
        native.load_compiler()  # needed in a moment, and the other process is at work
        answered = child.finish(process, _PATIENCE_S)
        if process is self._killed:
            raise Interrupted
        if answered is None:
            return Answer(refused=f"took more than {_PATIENCE_S:.0f} s", for_good=True)
        if answered.status == 0:
            return Answer.model_validate_json(answered.said)
        if answered.status > 0:
            return Answer(refused=child.failed(answered.complaints))
        short = "memory" in child.last_line(answered.complaints)  # LLVM aborts then too; tomorrow there may be more
        return Answer(
            refused=child.ended(answered.status, answered.complaints),
            for_good=-answered.status in _FAULTS and not short,
        )

    def _start(self, task: TASKS, names: Sequence[str]) -> child.Process:
        with self._turn:
            if self._interrupted:
                raise Interrupted
            self._at_work = child.start(self._command, [str(self._cache.folder), task, *names])
            return self._at_work
