"""What each signal means, which ones are taken, and that everything is put back."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from signal import Signals as Number

import pytest

from miner.commands import signals as signals_module
from miner.commands.signals import (
    DEAF,
    ENDING,
    UNWANTED,
    WARNING,
    Answers,
    Effect,
    End,
    GoOn,
    Ignore,
    Leave,
    Reload,
    Signals,
    Status,
    Suspend,
)
from miner.ui.terminal import Terminal

# What nobody can catch, and what says that the program itself is broken.
FAULTS = {
    *(Number.SIGKILL, Number.SIGSTOP, Number.SIGSEGV, Number.SIGBUS, Number.SIGFPE, Number.SIGILL),
    *(Number.SIGABRT, Number.SIGTRAP, Number.SIGSYS),
}
HARMLESS = {
    Number.SIGCHLD,
    Number.SIGURG,
    Number.SIGWINCH,
    Number.SIGPIPE,
    Number.SIGXFSZ,
}  # Python ignores the last two


def answered(*numbers: int, lost: bool = False) -> list[Effect]:
    answers = Answers()
    return [effect for number in numbers for effect in answers.handle(number, lost_terminal=lost)]


@pytest.mark.parametrize("first", ENDING)
@pytest.mark.parametrize("second", ENDING)
def test_the_first_that_a_person_sends_finishes_and_the_second_leaves(first: Number, second: Number) -> None:
    assert answered(first, second) == [End(first.name), Leave(second.name)]


@pytest.mark.parametrize("number", WARNING)
def test_what_the_system_sends_finishes_however_often_it_comes(number: Number) -> None:
    assert answered(number, number, number) == [End(number.name)]
    assert answered(number, Number.SIGINT, Number.SIGINT) == [End(number.name), Leave("SIGINT")]


def test_a_hang_up_reads_again_while_the_terminal_is_there_and_finishes_once_it_is_lost() -> None:
    assert answered(Number.SIGHUP, Number.SIGHUP) == [Reload(), Reload()]
    lost = End("the terminal is gone", lost_terminal=True)
    assert answered(Number.SIGHUP, Number.SIGHUP, lost=True) == [lost], "a shell and the kernel both send one"


def test_a_run_that_finishes_neither_reads_again_nor_stops() -> None:
    assert answered(Number.SIGTERM, Number.SIGHUP) == [End("SIGTERM")]
    assert answered(Number.SIGTERM, Number.SIGTSTP) == [End("SIGTERM"), Ignore("SIGTSTP: the run is finishing")]


def test_the_others_are_answered_or_ignored() -> None:
    assert answered(Number.SIGUSR1, Number.SIGTSTP, Number.SIGCONT) == [Status(), Suspend(), GoOn()]
    assert answered(Number.SIGUSR2, 63) == [Ignore("SIGUSR2"), Ignore("signal 63")]


def test_no_signal_ends_a_run_by_default_but_those_that_nobody_can_answer() -> None:
    taken = {*ENDING, *WARNING, *UNWANTED, *DEAF, Number.SIGHUP, Number.SIGUSR1, Number.SIGTSTP, Number.SIGCONT}
    assert signal.valid_signals() - taken == FAULTS | HARMLESS


@pytest.fixture
def before() -> Iterator[dict[int, object]]:
    """What pytest has set up is what must be there afterwards."""
    handlers: dict[int, object] = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield handlers
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == handlers


def heard(*numbers: Number, early: tuple[Number, ...] = ()) -> list[int]:
    """What a loop hears of these signals, sent before it listens and while it does."""
    found: list[int] = []

    async def main(signals: Signals) -> None:
        signals.listen(found.append)
        for number in numbers:
            signal.raise_signal(number)
        async with asyncio.timeout(20):
            while len(found) < len(numbers) + len(early):
                await asyncio.sleep(0.001)
        signals.stop_listening()

    with Signals(Terminal(lambda: True)) as signals:
        for number in early:
            signal.raise_signal(number)
        asyncio.run(main(signals))
    return found


@pytest.mark.usefixtures("before")
def test_the_loop_hears_every_signal_once_also_those_that_came_before_it() -> None:
    numbers = (Number.SIGTERM, Number.SIGHUP, Number.SIGTSTP, Number.SIGXCPU, Number.SIGUSR2)
    assert heard(*numbers, early=(Number.SIGHUP, Number.SIGUSR1)) == [Number.SIGHUP, Number.SIGUSR1, *numbers]


@pytest.mark.usefixtures("before")
def test_with_the_loop_gone_a_signal_does_not_end_the_process() -> None:
    with Signals(Terminal(lambda: False)) as signals:

        async def main() -> None:
            signals.listen(lambda _: None)
            signals.stop_listening()

        asyncio.run(main())
        for number in (Number.SIGTERM, Number.SIGHUP, Number.SIGXCPU, Number.SIGUSR1, Number.SIGUSR2, Number.SIGALRM):
            signal.raise_signal(number)


@pytest.mark.usefixtures("before")
def test_what_was_ignored_at_the_start_stays_ignored_but_for_ctrl_c() -> None:
    ignored = (Number.SIGHUP, Number.SIGQUIT, Number.SIGTSTP, Number.SIGINT)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ignored}
    try:
        assert heard(Number.SIGINT, early=()) == [Number.SIGINT]
        with Signals(Terminal(lambda: True)) as signals:

            async def main() -> None:
                signals.listen(lambda _: None)
                assert [number for number in ignored if signal.getsignal(number) is signal.SIG_IGN] == [*ignored[:3]]
                signals.stop_listening()

            asyncio.run(main())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.usefixtures("before")
def test_a_lost_terminal_does_not_matter_under_nohup() -> None:
    before = signal.getsignal(Number.SIGHUP)
    for handler, lost in ((signal.SIG_DFL, True), (signal.SIG_IGN, False)):
        there = iter([True, False])
        signal.signal(Number.SIGHUP, handler)
        with Signals(Terminal(lambda there=there: next(there))) as signals:  # type: ignore[misc]
            assert signals.lost_terminal is lost
    signal.signal(Number.SIGHUP, before)


@pytest.mark.usefixtures("before")
def test_the_second_that_a_person_sends_arms_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    armed: list[int] = []
    monkeypatch.setattr(signals_module.signal, "alarm", armed.append)
    heard(Number.SIGINT, Number.SIGHUP, Number.SIGUSR1)
    assert armed == []
    heard(Number.SIGINT, Number.SIGQUIT)
    assert armed == [signals_module.HANGS_S]


EARLY = """
import signal
from miner.commands.signals import Signals
from miner.ui.terminal import Terminal
there = iter([True, {still}])
with Signals(Terminal(lambda: next(there))):
    signal.raise_signal(signal.SIGHUP)
    print("goes on")
"""


@pytest.mark.parametrize(("still", "ended", "said"), [(True, 0, b"goes on\n"), (False, -signal.SIGHUP, b"")])
def test_a_hang_up_during_the_start_ends_it_where_the_terminal_is_gone(*, still: bool, ended: int, said: bytes) -> None:
    code = EARLY.format(still=still)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (ended, said), done.stderr
