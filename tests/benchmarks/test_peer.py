"""A rate is found in what miners print, and nothing else is taken for one."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.cpu import peer


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("[2026-01-01 12:00:00] CPU #0: 29.80 MH/s", 29.8e6),
        ("CPU #0: 29.8 MH/s\nTotal: 58.1 MH/s\nCPU #1: 30.0 MH/s\n", 58.1e6),
        ("first 100 kH/s\nthen 29,811.5 kH/s\n", 29_811_500.0),
        ("thread 0: 1048576 hashes, 1.5 khash/s", 1500.0),
        ("\x1b[32m1.25 GH/s\x1b[0m\n", 1.25e9),
        ("speed 12 H/s", 12.0),
        ("warming up\n29800000\n", 29.8e6),
        ("2.98e7", 2.98e7),
        ('{"hashes_per_second": 1234.5}', 1234.5),
        ('{\n  "hashes_per_second": {"median": 7.0, "max": 9.0}\n}\n', 7.0),
        ('ready\n{"hashes_per_second": 5}\n', 5.0),
    ],
)
def test_a_rate_is_understood(text: str, rate: float) -> None:
    assert peer.rate_in(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no rate at all",
        "accepted 3 of 7 shares",
        "29.8 MB/s",
        '{"rate": 5}',
        '{"hashes_per_second": "many"}',
        '{"hashes_per_second": true}',
        '{"hashes_per_second": 0}',
        "0.00 kH/s",
        "42\nthat was it",
    ],
)
def test_what_is_no_rate_is_said_to_be_none(text: str) -> None:
    with pytest.raises(peer.PeerError):
        peer.rate_in(text)


def python(program: str) -> str:
    return shlex.join([sys.executable, "-c", program])


def test_a_benchmark_that_ends_is_read_to_its_end() -> None:
    assert peer.run(python("print('noise'); print('3 kH/s')"), 60.0) == 3000.0


def test_one_that_does_not_is_interrupted_and_its_last_words_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = tmp_path / "ready"
    program = f"""
import pathlib, signal, sys
signal.signal(signal.SIGINT, lambda *_: (print("total 2.5 MH/s", flush=True), sys.exit(1)))
print("1 MH/s", flush=True)
pathlib.Path({str(ready)!r}).touch()
while True:
    signal.pause()
"""
    communicate = subprocess.Popen.communicate

    def once_ready(process: subprocess.Popen[str], timeout: float) -> tuple[str, str]:
        while not ready.exists():
            time.sleep(0.01)
        return communicate(process, timeout=timeout)

    monkeypatch.setattr(subprocess.Popen, "communicate", once_ready)
    assert peer.run(python(program), 0.01) == 2.5e6


@pytest.mark.parametrize("command", ["/nowhere/miner --benchmark", "", "'unbalanced"])
def test_what_cannot_be_started_is_an_error(command: str) -> None:
    with pytest.raises(peer.PeerError, match="cannot run"):
        peer.run(command, 1.0)


def test_a_failure_is_told_in_the_commands_own_words() -> None:
    with pytest.raises(peer.PeerError, match=r"status 3: 5 MH/s\nno such option"):
        peer.run(python("print('5 MH/s'); print('no such option'); raise SystemExit(3)"), 60.0)
