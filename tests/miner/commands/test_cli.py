"""The command itself, as an operator starts, stops and misuses it: real processes, the real CPU, the embedded chain."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from miner.commands import cli as cli_module
from miner.commands.cli import main
from tests.running import PATIENCE_S, Home, Miner, home, summary_of
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_faults import NoticeFirst, Refused

QUICK = ("--block-interval", "0.2", "--threads", "1")


Start = Callable[..., Miner]


@pytest.fixture
def operator(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


@pytest.fixture
def environ(operator: Home) -> dict[str, str]:
    return operator.environ


@pytest.fixture
def start(operator: Home) -> Start:
    return operator.start


def test_it_mines_accepted_blocks_and_says_what_it_did(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    miner = start(*QUICK, "--blocks", "3", "--summary", str(target))
    assert miner.ended() == 0, miner.output()
    summary = summary_of(target)
    assert summary["blocks"]["accepted"] >= 3
    assert summary["blocks"]["rejected"] == 0
    assert summary["hardware_errors"] == 0
    assert summary["hashes"] > 0
    assert summary["hashes_per_second"] == pytest.approx(summary["hashes"] / summary["seconds"])
    assert [device["backend"] for device in summary["devices"]] == ["cpu"]
    assert "worthless" in miner.output()


def test_the_package_is_the_command(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "miner"]
    done = subprocess.run([*command, "--version"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("angara-miner ")
    wrong = subprocess.run([*command, "dig"], env=environ, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("usage: miner ")


def test_whoever_reads_its_output_may_leave_early(environ: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "miner.commands.cli", "check", "--backend", "cpu"]
        done = subprocess.run(command, env=environ, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_with_enough_accepted_shares_it_ends(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    miner = start("--pool", "synthetic:", "--threads", "1", "--shares", "1", "--summary", str(target))
    assert miner.ended() == 0, miner.output()
    assert summary_of(target)["shares"]["accepted"] >= 1


def test_with_the_time_up_it_ends(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    miner = start("--pool", "synthetic:", "--threads", "1", "--seconds", "1", "--summary", str(target))
    assert miner.ended() == 0, miner.output()
    assert summary_of(target)["seconds"] >= 1.0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_the_first_interrupt_finishes_and_hands_in(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    target = tmp_path / "s.json"
    miner = start(*QUICK, "--summary", str(target))
    miner.until("block_accepted", 2)
    miner.signal(number)
    assert miner.ended() == 0, miner.output()
    shares = summary_of(target)["shares"]
    assert shares["submitted"] == shares["accepted"] + shares["rejected"] + shares["stale"]


def test_what_else_a_person_may_send_is_answered_or_ignored_and_quit_hands_in(start: Start) -> None:
    miner = start(*QUICK)
    miner.until("mining_began")
    miner.signal(signal.SIGUSR2)
    miner.until("signal_ignored signal=SIGUSR2")
    told = miner.output().count(" status ")
    miner.signal(signal.SIGUSR1)
    miner.until(" status ", told + 1)
    miner.signal(signal.SIGQUIT)
    assert miner.ended() == 0, miner.output()
    assert "finished reason=SIGQUIT" in miner.output()


def test_the_second_interrupt_leaves_at_once(start: Start) -> None:
    miner = start(*QUICK)
    miner.until("mining_began")
    os.kill(miner.process.pid, signal.SIGSTOP)  # so that both are pending when it looks
    miner.signal(signal.SIGINT)
    miner.signal(signal.SIGTERM)
    os.kill(miner.process.pid, signal.SIGCONT)
    assert miner.ended() == 1, miner.output()
    assert "left_at_once" in miner.output()


def test_an_interrupt_before_there_is_anything_to_finish_ends_it_without_a_traceback(
    environ: dict[str, str], tmp_path: Path
) -> None:
    config = tmp_path / "miner.toml"
    os.mkfifo(config)
    command = [sys.executable, "-m", "miner.commands.cli", "check", "--config", str(config)]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE) as process:
        with config.open("w"):  # it reads
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=PATIENCE_S) == (None, b"")
        assert process.returncode == -signal.SIGINT, "a shell that runs it in a loop must know"


def _script() -> str:
    """What the installed command does."""
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    module, _, function = project["scripts"]["miner"].partition(":")
    return f"import sys; from {module} import {function}; sys.exit({function}())"


@pytest.mark.parametrize("command", [("-m", "miner"), ("-c", _script())], ids=["package", "script"])
def test_so_does_one_while_the_program_is_still_loaded(
    environ: dict[str, str], tmp_path: Path, command: tuple[str, str]
) -> None:
    loading = tmp_path / "loading"
    os.mkfifo(loading)
    (tmp_path / "structlog.py").write_text(f"import time; open({str(loading)!r}); time.sleep(600)")
    environ["PYTHONPATH"] = f"{tmp_path}:{environ.get('PYTHONPATH', '')}"
    with subprocess.Popen([sys.executable, *command], env=environ, stderr=subprocess.PIPE) as process:
        with loading.open("w"):
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=PATIENCE_S) == (None, b"")
        assert process.returncode == -signal.SIGINT


HANGS = """
import sys, time
from miner.commands import cli
from miner.engine import engine
engine.Engine._show = lambda self, snapshot: print("hangs", flush=True) or time.sleep(600)
sys.exit(cli.main(sys.argv[1:]))
"""


def _until_taken(pid: int) -> None:
    """Until a process has no signal before it."""
    deadline = time.monotonic() + PATIENCE_S
    while re.search(r"^(SigPnd|ShdPnd):\s*0*[1-9a-f]", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_second_interrupt_ends_even_one_whose_loop_hangs(environ: dict[str, str]) -> None:
    command = [sys.executable, "-c", HANGS, *QUICK]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"hangs\n"
            process.send_signal(signal.SIGINT)
            _until_taken(process.pid)  # beside one that is not, the next would be another thread's, and wake nobody
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == -signal.SIGALRM
        finally:
            process.kill()


def test_a_hang_up_reads_the_pools_again(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "miner.toml"
    config.write_text('[[pool]]\nurl = "synthetic:"\n[backends.cpu]\nthreads = 1\n')
    miner = start("--config", str(config), "--block-interval", "0.2")
    miner.until("mining_began")
    config.write_text('[[pool]]\nurl = "embedded:"\n[backends.cpu]\nthreads = 1\n')
    miner.signal(signal.SIGHUP)
    miner.until("reloaded")
    miner.until("block_accepted")
    config.write_text("pool = 7\n")
    miner.signal(signal.SIGHUP)
    miner.until("reload_refused")
    miner.until("block_accepted", miner.output().count("block_accepted") + 1)
    miner.signal(signal.SIGINT)
    assert miner.ended() == 0, miner.output()


def test_a_hang_up_before_anybody_listens_is_heard_later(start: Start, tmp_path: Path) -> None:
    config = tmp_path / "miner.toml"
    config.write_text('[[pool]]\nurl = "synthetic:"\n')
    config.chmod(0o666)
    miner = start("--config", str(config), "--threads", "1")
    miner.until("everybody on this machine can change it")
    miner.signal(signal.SIGHUP)
    miner.until("reloaded")
    miner.signal(signal.SIGINT)
    assert miner.ended() == 0, miner.output()


def test_a_second_miner_of_the_same_state_folder_is_refused_with_the_pid_of_the_first(start: Start) -> None:
    first = start(*QUICK)
    first.until("mining_began")
    second = start(*QUICK)
    assert second.ended() == 1
    assert str(first.process.pid) in second.output()


def test_prometheus_can_scrape_it_while_it_mines(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    miner = start(*QUICK, "--metrics", f"127.0.0.1:{port}")
    miner.until("state=mining")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    hashes = [line for line in text.splitlines() if line.startswith('miner_hashes_total{device="cpu:0"}')]
    assert float(hashes[0].split()[1]) > 0


def test_a_state_folder_that_cannot_be_written_costs_the_embedded_chain_only_its_memory(start: Start) -> None:
    miner = start(*QUICK, "--blocks", "1", "--state-dir", "/proc/angara")
    assert miner.ended() == 0, miner.output()
    assert "nothing_is_kept" in miner.output()


def test_only_threads_that_mining_began_and_that_do_not_end_are_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_module, "LEFT_BEHIND_S", 0.05)
    released, quick = threading.Event(), threading.Event()
    early, stuck, ending = (
        threading.Thread(target=event.wait, name=name, daemon=True)
        for event, name in ((released, "early"), (released, "stuck"), (quick, "ending"))
    )
    early.start()
    before = threading.enumerate()
    try:
        stuck.start()
        ending.start()
        quick.set()
        assert cli_module._left_behind(before) == ["stuck"]
    finally:
        released.set()


@pytest.fixture
def in_process(environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """What ends before it mines needs no process of its own."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ.keys() - environ.keys():
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> int:
        try:
            return main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--blocks", "none"), "--blocks"),
        (("--treads", "2"), "did you mean --threads?"),
        (("--threads", "0"), "--threads is 0"),
        (("--backend", "opencl", "--intensity", "0"), "--intensity is 0"),
        (("--backend", "abacus"), "no such backend is installed"),
        (("--pool", "gopher://x:1"), "there is no scheme"),
        (("--config", "/nowhere/miner.toml"), "/nowhere/miner.toml"),
        (("--pool", "embedded:", "--pool", "embedded:"), "configured twice"),
        (("--log-format", "xml"), "--log-format"),
        (("mine", "more"), "unexpected argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_one_sentence_and_exit_2(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    assert in_process(*arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_a_device_that_is_not_there_is_named_with_those_that_are(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("--device", "gpu") == 1
    assert "cpu:0" in capsys.readouterr().err


def test_a_summary_that_could_not_be_written_is_refused_before_mining(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("--summary", "/nowhere/s.json") == 1
    assert "mining_began" not in capsys.readouterr().err


def test_a_port_that_is_taken_is_a_sentence_and_a_failure(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert in_process("--metrics", f"127.0.0.1:{taken.getsockname()[1]}") == 1
    assert "another program has that port" in capsys.readouterr().err


def test_devices_are_listed_for_people_and_programs(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("devices") == 0
    people = capsys.readouterr().out
    assert "cpu:0" in people
    assert "kernel: " in people
    assert in_process("devices", "--json") == 0
    device, *_ = json.loads(capsys.readouterr().out)["devices"]
    assert (device["id"], device["would_mine"]) == ("cpu:0", True)


def test_check_reaches_the_pool_and_mines_nothing(
    in_process: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert in_process("check") == 0
    said = capsys.readouterr().out
    assert "worthless" in said
    assert "cpu:0: would mine" in said


def test_check_repeats_no_password_that_a_pool_repeats_and_no_escape(
    in_process: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MINER_PASSWORD", "s3cret")
    with VirtualPool() as pool:
        pool.always("mining.subscribe", NoticeFirst("client.show_message", ("welcome, \x1b[2J\ns3cret",)))
        command = ("check", "--pool", f"stratum+tcp://127.0.0.1:{pool.port}", "--user", "account.worker")
        assert in_process(*command) == 0
        heard = capsys.readouterr()
        assert "pool_says: welcome, \\x1b[2J\\x0a***\n" in heard.out
        pool.always("mining.authorize", Refused(24, "who is \x1b[2Js3cret?"))
        assert in_process(*command) == 1
    told = capsys.readouterr()
    assert "who is \\x1b[2J***?\n" in told.err
    assert "s3cret" not in f"{heard}{told}"
