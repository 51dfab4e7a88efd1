"""Asking a process that drivers are loaded into: whatever it does, who asked goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from backends.opencl import elsewhere
from backends.opencl.elsewhere import Answered, ask

ECHO = "import sys; data = sys.stdin.read(); print(data); sys.stderr.write(sys.argv[1]); sys.exit(3)"


def test_what_it_was_told_comes_back_with_its_words_and_its_status() -> None:
    assert ask([sys.executable, "-c", ECHO, "oh"], 60.0, b"hello") == Answered(3, b"hello\n", b"oh")


def test_it_may_be_given_an_environment_of_its_own() -> None:
    shown = ask([sys.executable, "-c", "import os; print(os.environ['CARD'])"], 60.0, environ={"CARD": "first"})
    assert shown is not None and shown.said == b"first\n"


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_one_that_not_even_a_kill_ends_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: left.append(process.pid))
    monkeypatch.setattr(elsewhere, "_KILL_S", 0.1)
    begun = time.monotonic()
    assert ask([sys.executable, "-c", "import time; time.sleep(1000)"], 0.1) is None
    assert time.monotonic() - begun < 10.0
    os.kill(left[0], signal.SIGKILL)
    os.waitpid(left[0], 0)
