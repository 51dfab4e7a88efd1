"""Which forms of the search are the fastest on a device: tried one after the other, remembered with their programs.

    start -> rotate and select -> width -> midstates -> work-group -> batches

Each step varies the best form so far in one respect; trying all combinations would take hours. Every form is built,
examined and timed in a process of its own: compilers crash, and drivers hang. Each outcome is kept as it is known, so
that a tuning which was cut short goes on where it was.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backends.child import ask, ended, failed
from backends.kept import Kept
from backends.opencl.errors import OpenclError
from backends.opencl.runtime import Identity
from backends.opencl.worker.source import MIDSTATES, WIDTHS, Form
from backends.rates import first_of_the_best

PATIENCE_S = 180.0  # for building, examining and timing one form
_NOISE = 0.01  # rates that differ by less are equal: the form tried first is kept
_FILE = "tuned.json"
_TRIALS_MAX = 64  # steps of at most five forms need fewer
_STOPPED = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}  # from outside, as when the machine is shut down

Tell = Callable[[str], None]


class Trial(BaseModel):
    """What became of a form: its rate, or why it was refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form
    rate_hps: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    refused: str | None = Field(default=None, max_length=8000)


_TRIALS: TypeAdapter[list[Trial]] = TypeAdapter(Annotated[list[Trial], Field(max_length=_TRIALS_MAX)])


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best forms for one version and for several (often they differ in that alone), and how they were found."""

    single: Form
    several: Form
    trials: tuple[Trial, ...] = ()

    @property
    def forms(self) -> tuple[Form, ...]:
        return tuple(dict.fromkeys((self.single, self.several)))

    @property
    def rate_hps(self) -> float | None:
        """Of `several`, as it was measured alone."""
        return next((x.rate_hps for x in self.trials if x.form == self.several), None)


class Tuner:
    """What to try next. No process, no clock: `next` and `told` in turn until there is no next.

    known: how earlier trials ended; what they answer is not asked again.
    """

    def __init__(self, identity: Identity, known: Iterable[Trial] = ()) -> None:
        self._identity = identity
        self._known = {trial.form: trial for trial in known}
        self._trials: dict[Form, Trial] = {}
        self._steps = iter((self._forms, self._widths, self._midstates, self._groups, self._batches))
        self._pending: list[Form] = []

    @property
    def trials(self) -> tuple[Trial, ...]:
        return tuple(self._trials.values())

    def next(self) -> Form | None:
        """The next form of this step, or the first of the next; none twice, and no step a second time."""
        while True:
            while self._pending:
                form = self._pending.pop(0)
                if form in self._trials or form.group > self._identity.work_group:
                    continue
                if form not in self._known:
                    return form
                self.told(self._known[form])
            step = next(self._steps, None)
            if step is None:
                return None
            self._pending = list(step())

    def told(self, trial: Trial) -> None:
        self._trials[trial.form] = trial

    def tuned(self) -> Tuned | None:
        """The outcome so far; None as long as no form with one midstate worked."""
        return chosen(self.trials)

    def _best(self, midstates: Sequence[int] = MIDSTATES) -> Form:
        rates = {x.form: x.rate_hps for x in self.trials if x.rate_hps is not None and x.form.midstates in midstates}
        return first_of_the_best(rates, _NOISE) if rates else starter(self._identity)

    def _forms(self) -> Iterable[Form]:
        start = starter(self._identity)
        yield start
        for rotate in ("function", "shifts"):
            for select in ("function", "logic"):
                yield replace(start, rotate=rotate, select=select)

    def _widths(self) -> Iterable[Form]:
        best = self._best([1])
        widths = WIDTHS if self._identity.type == "cpu" else [x for x in WIDTHS if x <= 4]
        return (replace(best, width=width) for width in widths if width != 2 or best.width == 1)

    def _midstates(self) -> Iterable[Form]:
        best = self._best([1])
        return (replace(best, midstates=midstates) for midstates in MIDSTATES)

    def _groups(self) -> Iterable[Form]:
        best = self._best()
        return (replace(best, group=group) for group in (64, 128, 256))

    def _batches(self) -> Iterable[Form]:
        best = self._best()
        return (replace(best, batches=batches) for batches in (1, 4, 16))


def starter(identity: Identity) -> Form:
    """The form to begin with, and to mine with where nothing may be tried."""
    if identity.type == "cpu":
        # The PoCL that pip installs ends the process on wider vectors, and calls rotate() and bitselect().
        return Form(width=min(max(identity.vector_width, 4), 8), rotate="shifts", select="logic")
    return Form(group=min(256, identity.work_group))


def untuned(identity: Identity) -> Tuned:
    """What to mine with where nothing may be tried."""
    form = starter(identity)
    return Tuned(form, form)


def chosen(trials: Sequence[Trial]) -> Tuned | None:
    """The fastest form with one midstate, and the fastest of all."""
    rates = {x.form: x.rate_hps for x in trials if x.rate_hps is not None}
    single = {form: rate for form, rate in rates.items() if form.midstates == 1}
    if not single:
        return None
    return Tuned(first_of_the_best(single, _NOISE), first_of_the_best(rates, _NOISE), tuple(trials))


def settle(
    identity: Identity,
    folder: Path | None,
    *,
    again: bool = False,
    tell: Tell = lambda _: None,
    attempt: Callable[[Identity, Form, Path | None], Trial] | None = None,
) -> Tuned:
    """The device's best forms: remembered in the folder, or tried now, which takes a minute or two.

    again: try even if they are remembered. tell: what is being tried, in words. When no form works, the answer is
    `untuned` with the trials, so that whoever opens the search sees why. Loads no driver into this process. Raises
    OpenclError when somebody ends it.
    """
    if again:
        _forget(folder)
    attempt = attempt or try_elsewhere
    tuner = Tuner(identity, _remembered(folder, tell))
    while (form := tuner.next()) is not None:
        tell(_trying(form, tuner.trials))
        tuner.told(attempt(identity, form, folder))
        if reason := _remember(folder, tuner.trials):
            tell(f"what was measured cannot be kept: {reason}")
    tuned = tuner.tuned()
    if tuned is None:
        _forget(folder)
        return replace(untuned(identity), trials=tuner.trials)
    _drop_losers(folder, tuned)
    return tuned


def recall(identity: Identity, folder: Path | None, tell: Tell = lambda _: None) -> Tuned | None:
    """What is remembered; None if there is nothing or too little, or where it cannot be read: `tell` why."""
    tuner = Tuner(identity, _remembered(folder, tell))
    return tuner.tuned() if tuner.next() is None else None


def _trying(form: Form, trials: Sequence[Trial]) -> str:
    best = max((x.rate_hps for x in trials if x.rate_hps is not None), default=None)
    so_far = f", {best / 1e6:.1f} MH/s at best so far" if best else ""
    return f"looking for the fastest form of the search: number {len(trials) + 1}, {form.name}{so_far}"


def _kept(folder: Path) -> Kept[list[Trial]]:
    return Kept(folder / _FILE, _TRIALS)


def _remembered(folder: Path | None, tell: Tell) -> list[Trial]:
    """The trials that have ended; none where the file cannot be used: `tell` why."""
    if folder is None:
        return []
    try:
        return _kept(folder).read() or []
    except OSError as error:
        tell(f"what was measured cannot be used: {error}")
        return []


def _remember(folder: Path | None, trials: Sequence[Trial]) -> str | None:
    """Write the trials down; return why that cannot be, if so."""
    if folder is None:
        return None
    try:
        _kept(folder).write(list(trials))
    except OSError as error:
        return str(error)
    return None


def _forget(folder: Path | None) -> None:
    if folder is not None:
        with suppress(OSError):  # `_remember` tells why the file cannot be written
            _kept(folder).forget()


def _drop_losers(folder: Path | None, tuned: Tuned) -> None:
    """Remove the programs of the forms that lost."""
    if folder is None:
        return
    best = {form.name for form in tuned.forms}
    for file in folder.glob("*.bin"):
        if file.stem not in best:
            with suppress(OSError):
                file.unlink()


def try_elsewhere(identity: Identity, form: Form, folder: Path | None) -> Trial:
    """Try a form in a process that no signal for this one reaches, and that ends with it.

    Raises OpenclError when it was ended from outside: that says nothing of the form.
    """
    command = (sys.executable, "-m", "backends.opencl.worker.trial")
    request = TypeAdapter(Identity).dump_json(identity) + b"\n" + TypeAdapter(Form).dump_json(form) + b"\n"
    answered = ask(command, PATIENCE_S, [str(folder or "")], request=request)
    if answered is None:
        return Trial(form=form, refused=f"took more than {PATIENCE_S:.0f} s")
    if -answered.status in _STOPPED:
        raise OpenclError(f"tuning was ended by {signal.Signals(-answered.status).name}")
    if answered.status < 0:
        return Trial(form=form, refused=ended(answered.status, answered.complaints))
    with suppress(ValidationError, IndexError):  # runtimes print what they like: ours is the last line
        return Trial.model_validate_json(answered.said.splitlines()[-1])
    return Trial(form=form, refused=failed(answered.complaints))
