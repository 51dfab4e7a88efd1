from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import native
from backends.cpu import tuner
from backends.cpu.tuner import SHIPPED, Found
from miner.cli import main
from miner.exit_codes import ExitCode
from miner.tune import SECONDS, tune
from native.scheduled import ONE

NEWS = [
    Found(tuned=SHIPPED.model_copy(update={"one": replace(ONE, window=window)}), tried=n, one_hps=1e6 * n, many_hps=9e6)
    for n, window in ((3, 60), (4, 60), (5, 61))
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, float]]:
    """For how long it was to seek, and where."""
    seen: list[tuple[Path, float]] = []

    def sought(state: Path, seconds: float, told: Callable[[Found], None]) -> Found:
        seen.append((state, seconds))
        for news in NEWS:
            told(news)
        return NEWS[-1]

    monkeypatch.setattr(tuner, "tune_for_good", sought)
    monkeypatch.setattr(tuner, "settled", lambda _: SimpleNamespace(name="tuned8, avx512x16 x8"))
    return seen


def test_improvements_are_lines_in_a_file_and_one_line_on_a_terminal(
    asked: list[tuple[Path, float]], tmp_path: Path
) -> None:
    file, terminal = io.StringIO(), Terminal()
    assert tune(tmp_path, None, file) is tune(tmp_path, None, terminal) is ExitCode.DONE
    assert asked == [(tmp_path, SECONDS)] * 2
    assert file.getvalue().splitlines()[1:3] == [
        f"{n} tried; one version {n}.00 MH/s, several 9.00 MH/s" for n in (3, 5)
    ]
    assert terminal.getvalue().count("\r") == 3
    assert file.getvalue().endswith("from the next start: tuned8, avx512x16 x8\n")
    assert NEWS[-1].tuned.digest in file.getvalue()


def test_the_command_takes_seconds_and_the_state_folder(
    asked: list[tuple[Path, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", "--seconds", "7", "--state-dir", str(tmp_path)]) == 0
    assert asked == [(tmp_path, 7.0)]
    assert "5 tried" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "status", "sentence"),
    [
        (native.UnusableKernelError("this processor has no sha: there is nothing to tune"), 1, "nothing to tune"),
        (PermissionError("kernels cannot be kept"), 1, "cannot be kept"),
        (None, 0, "none is faster"),
    ],
)
def test_it_says_why_nothing_came_of_it(  # noqa: PLR0917
    answer: Exception | None,
    status: int,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def sought(*_: object) -> None:
        if answer:
            raise answer

    monkeypatch.setattr(tuner, "tune_for_good", sought)
    out = io.StringIO()
    assert tune(tmp_path, 1.0, out) == status
    assert sentence in out.getvalue() + capsys.readouterr().err


@pytest.mark.usefixtures("asked")
def test_an_interrupt_while_it_is_measured_leaves_that_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuner, "settled", interrupted)
    out = io.StringIO()
    assert tune(tmp_path, 1.0, out) is ExitCode.DONE
    assert out.getvalue().endswith("the next start measures it\n")
