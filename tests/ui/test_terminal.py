"""A terminal that is there, that goes, and that another job has."""

from __future__ import annotations

import io
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner.ui.terminal import Terminal, in_front, let_go


@pytest.mark.parametrize(
    ("then", "now", "lost"), [(True, False, True), (True, True, False), (False, False, False), (False, True, False)]
)
def test_a_terminal_is_lost_only_if_there_was_one(*, then: bool, now: bool, lost: bool) -> None:
    answers = iter([then, now])
    assert Terminal(lambda: next(answers)).lost is lost


@pytest.fixture
def closed_terminal() -> Iterator[int]:
    """A stream of a terminal whose other end is closed."""
    master, slave = pty.openpty()
    os.close(master)
    yield slave
    os.close(slave)


def test_streams_of_a_lost_terminal_lead_nowhere_and_files_stay(closed_terminal: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        os.write(closed_terminal, b"x")
    with (tmp_path / "log").open("wb", buffering=0) as file:
        let_go([closed_terminal, file.fileno(), 1000])
        assert os.write(closed_terminal, b"x") == 1
        file.write(b"kept")
    assert (tmp_path / "log").read_bytes() == b"kept"


def test_a_terminal_that_is_there_is_not_let_go() -> None:
    master, slave = pty.openpty()
    try:
        let_go([slave])
        os.write(slave, b"seen")
        assert os.read(master, 4) == b"seen"
    finally:
        os.close(master)
        os.close(slave)


def test_where_there_are_no_jobs_everybody_is_in_front(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert in_front(io.StringIO())
    with (tmp_path / "file").open("w") as file:
        assert in_front(file)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        assert in_front(file)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
        assert not in_front(file)
