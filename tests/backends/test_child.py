"""Our own Python in another process: whatever the child does, the process that started it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from backends import child
from backends.child import Answered, ask, ended, failed, last_line

PROBE = "import os, signal, sys, time\n"


def python(script: str) -> Sequence[str]:
    return (sys.executable, "-S", "-c", PROBE + script)


def answer(script: str, *words: str, request: bytes = b"", patience_s: float = 60.0) -> Answered:
    answered = ask(python(script), patience_s, words, request=request)
    assert answered is not None
    return answered


def test_a_child_reads_the_request_and_its_words_and_its_output_and_status_come_back() -> None:
    script = "print(sys.stdin.read()); sys.stderr.write(' '.join(sys.argv[2:])); sys.exit(3)"
    assert answer(script, "oh", "no", request=b"hello") == Answered(3, b"hello\n", b"oh no")


def test_the_first_argument_of_a_child_is_the_process_that_started_it() -> None:
    assert answer("print(sys.argv[1], os.getppid())").said == f"{os.getpid()} {os.getpid()}\n".encode()


def test_a_child_without_a_request_finds_its_standard_input_at_its_end() -> None:
    assert answer("print(sys.stdin.read() == '')").said == b"True\n"


def test_a_request_larger_than_a_pipe_arrives_whole() -> None:
    assert answer("print(len(sys.stdin.read()))", request=b"x" * 300_000).said == b"300000\n"


def test_a_child_that_does_not_read_its_request_is_waited_for_all_the_same() -> None:
    assert answer("sys.stdin.close(); print('done')", request=b"x" * 300_000).said == b"done\n"


def test_a_child_imports_what_its_parent_can_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found_by_the_parent.py").write_text("A = 1")
    monkeypatch.syspath_prepend(tmp_path)
    assert answer("import found_by_the_parent; print(found_by_the_parent.A)").said == b"1\n"


def test_a_child_has_the_environment_of_its_parent_and_what_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE", "ours")
    shown = ask(python("print(os.environ['HOUSE'], os.environ['CARD'])"), 60.0, environ={"CARD": "first"})
    assert shown is not None and shown.said == b"ours first\n"


def test_a_child_has_a_session_of_its_own_so_that_no_terminal_stops_it() -> None:
    assert answer("print(os.getsid(0) == os.getpid())").said == b"True\n"


def test_of_endless_output_the_last_part_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "OUTPUT_MAX", 1000)
    shown = answer("sys.stdout.write('x' * 200_000 + 'end'); sys.stderr.write('y' * 200_000 + 'why')")
    assert (len(shown.said), shown.said[-4:]) == (1000, b"xend")
    assert (len(shown.complaints), shown.complaints[-4:]) == (1000, b"ywhy")


@pytest.mark.parametrize(
    "script",
    [
        "time.sleep(1000)",
        "os.close(1); os.close(2); time.sleep(1000)",
        "while True: os.write(1, b'x' * 1000)",
    ],
    ids=["silent", "pipes closed", "never silent"],
)
def test_a_child_that_takes_too_long_is_killed(script: str) -> None:
    process = child.start(python(script))
    assert child.finish(process, 0.2) is None
    assert process.returncode == -signal.SIGKILL
    assert all(pipe and pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))


@pytest.mark.timeout(30)
@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")
def test_a_child_that_not_even_a_kill_ends_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: left.append(process.pid))
    monkeypatch.setattr(child, "KILL_S", 0.1)
    begun = time.monotonic()
    assert ask(python("time.sleep(1000)"), 0.1) is None
    assert time.monotonic() - begun < 10.0
    os.kill(left[0], signal.SIGKILL)
    os.waitpid(left[0], 0)


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(OSError, match="nonexistent"):
        ask(["/nonexistent/python"], 1.0)


def test_a_child_ends_at_once_when_its_parent_has_ended_already() -> None:
    script = "from backends.child import end_with; end_with(os.getppid() + 1); print('goes on')"
    assert answer(script) == Answered(1, b"", b"the miner has ended\n")


@pytest.mark.timeout(60)
def test_a_child_ends_with_its_parent() -> None:
    grandchild = f"{PROBE}from backends.child import end_with; end_with(int(sys.argv[1])); print(1); time.sleep(1000)"
    script = f"""
from backends.child import start
process = start([sys.executable, '-u', '-c', {grandchild!r}])
process.stdout.readline()
print(process.pid)
"""
    pid = int(answer(script).said)
    while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("status", "complaints", "text"),
    [
        (0, b"", "ended with status 0"),
        (1, b"Traceback\nOSError: no space\n", "ended with status 1: OSError: no space"),
        (-signal.SIGSEGV, b"", "crashed with SIGSEGV"),
        (-signal.SIGKILL, b"", "was killed (SIGKILL), by somebody or because memory ran out"),
        (-(signal.SIGRTMIN + 1), b"", f"crashed with signal {signal.SIGRTMIN + 1}"),
        (2, b"\xff" + b"x" * 1000, "ended with status 2: \ufffd" + "x" * 299),
    ],
)
def test_the_end_of_a_child_is_described_with_its_last_line(status: int, complaints: bytes, text: str) -> None:
    assert ended(status, complaints) == text


def test_a_child_that_failed_without_a_word_gave_no_reason() -> None:
    assert failed(b"\n \n") == "failed: no reason given"
    assert failed(b"why\n") == "failed: why"
    assert last_line(b"") == ""
