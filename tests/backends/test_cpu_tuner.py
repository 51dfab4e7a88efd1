"""Tuning from outside: processes that find, crash, hang or are interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import pytest

import native
from backends.cpu import templates, tuner
from backends.cpu.dispatch import SCHEDULED
from backends.cpu.tuner import SHIPPED, Found, seek, tune, tune_for_good
from native.schedule import Template
from native.scheduled import MANY, ONE

STRONG = native.Features("x86_64", "znver4", frozenset(SCHEDULED))
LUCKY = SHIPPED.model_copy(update={"one": replace(ONE, window=77)})


def staged(script: str) -> list[str]:
    """A process that is given PARENT SECONDS TEMPLATES and runs this instead."""
    return [sys.executable, "-c", "import os, signal, sys, time\nparent, seconds, start = sys.argv[1:]\n" + script]


def says(tried: int, tuned: str = "start") -> str:
    return f"""print('{{"tuned": %s, "tried": {tried}, "one_hps": 2, "many_hps": 3}}' % {tuned}, flush=True)\n"""


@pytest.fixture
def strong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "host_features", lambda: STRONG)


def clock(step: float = 0.1) -> Callable[[], float]:
    ticks = count()
    return lambda: next(ticks) * step


def measured(one: Callable[[Template], float], seconds: float) -> list[Found]:
    return list(seek(seconds, SHIPPED, Random(5), [one, lambda _: 1.0], clock()))


def test_it_seeks_for_as_long_as_it_was_told_and_tells_every_second() -> None:
    told = measured(lambda _: 0.5, 5.0)
    assert 5 <= len(told) <= 8
    assert {(x.one_hps, x.many_hps) for x in told} == {(2.0, 1.0)}
    assert 60 < told[-1].tried <= 4 + 2 * 50


def test_what_is_better_is_told_at_once() -> None:
    told = measured(lambda template: 1 / template.window, 20.0)
    windows = [x.tuned.one.window for x in told]
    assert windows == sorted(windows) and windows[-1] > ONE.window
    assert all(x.one_hps == pytest.approx(x.tuned.one.window) for x in told)
    assert {x.tuned.many for x in told} <= {MANY, replace(MANY, low=False)}


@pytest.mark.usefixtures("strong")
def test_a_process_that_crashes_is_followed_by_another_that_goes_on(tmp_path: Path) -> None:
    flag = tmp_path / "crashed"
    found = f"{LUCKY.model_dump_json()!r}"
    script = f"""
if os.path.exists({str(flag)!r}):
    {says(5)}    time.sleep(float(seconds))
else:
    open({str(flag)!r}, "w").close()
    {says(7, found)}    sys.stdout.write('{{"tuned": ')
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGILL)
"""
    told: list[Found] = []
    best = tune(2.0, told=told.append, command=staged(script))
    assert [x.tried for x in told] == [7, 12]
    assert best == told[-1] and best.tuned == LUCKY


@pytest.mark.usefixtures("strong")
def test_where_every_process_crashes_it_says_so() -> None:
    with pytest.raises(native.UnusableKernelError, match="no template could be measured"):
        tune(60.0, command=staged("os.kill(os.getpid(), signal.SIGILL)"))


@pytest.mark.usefixtures("strong")
def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "_PATIENCE_S", 0.3)
    assert tune(0.2, command=staged(says(3) + "time.sleep(600)")).tried == 3


@pytest.mark.usefixtures("strong")
def test_an_interrupt_keeps_the_best_so_far() -> None:
    def interrupted(_: Found) -> None:
        raise KeyboardInterrupt

    assert tune(600.0, told=interrupted, command=staged(says(9) + "time.sleep(600)")).tried == 9


def test_a_processor_without_the_instructions_has_nothing_to_tune(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "host_features", lambda: native.Features("x86_64", "x86-64", frozenset({"sha"})))
    with pytest.raises(native.UnusableKernelError, match=r"no sse4.1, avx512f.*nothing to tune"):
        tune(1.0)


@pytest.mark.usefixtures("strong")
def test_only_what_is_new_is_kept_and_the_next_search_begins_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[object] = []

    def finds(results: Iterable[templates.Tuned]) -> None:
        left = iter(results)

        def found(_seconds: float, start: templates.Tuned, _told: object) -> Found:
            began.append(start)
            return Found(tuned=next(left), tried=1, one_hps=1, many_hps=1)

        monkeypatch.setattr(tuner, "tune", found)

    finds([SHIPPED.model_copy(update={"one": replace(ONE, low=False)}), LUCKY, LUCKY])
    assert tune_for_good(tmp_path, 1.0, lambda _: None) is None
    assert tune_for_good(tmp_path, 1.0, lambda _: None) is not None
    tune_for_good(tmp_path, 1.0, lambda _: None)
    assert began == [SHIPPED, SHIPPED, LUCKY]


def test_where_nothing_can_be_kept_nothing_is_sought(tmp_path: Path) -> None:
    (tmp_path / "kernels").touch()
    with pytest.raises(PermissionError, match="kernels"):
        tune_for_good(tmp_path, 600.0, lambda _: None)


def test_a_real_processor_is_tuned_for_a_moment() -> None:
    if native.host_features().lacks(SCHEDULED):
        with pytest.raises(native.UnusableKernelError, match="nothing to tune"):
            tune(0.5)
        return
    told: list[Found] = []
    found = tune(0.5, told=told.append)
    assert found == told[-1]
    assert found.tried >= 4
    assert 1e4 < found.one_hps < 1e9 and 1e4 < found.many_hps < 1e9
